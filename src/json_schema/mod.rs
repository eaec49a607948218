//! The JSON Schema of Buildfiles, for editors.
//!
//! It is derived from the parser: small Buildfiles with a value of each type at each place are read, and
//! the broken rules of their mistakes ([`Rule`]) give types, keys, words and patterns. So a new key is in
//! the schema as soon as it is in the parser. Descriptions come from `docs/BUILDFILE.md`
//! ([`manual`]). Relations of targets, and rules that depend on the value of another key, are not in the
//! schema; `tests/it/json_schema.rs` lists them.

pub mod manual;

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::diagnostic::Rule;
use crate::targets::{self, KINDS};

/// A value that is right nowhere.
const NEITHER: &str = "nan";

/// A text that a reference makes valid, as its value is not known here.
const REFERENCE: &str = r"\{[A-Za-z_][A-Za-z0-9_-]*\}";

/// Returns the schema (draft 7).
pub fn schema() -> Value {
    let root = Place { before: String::new(), after: "\n".into(), path: String::new() };
    let mut properties = Map::new();
    for key in keys(&rules("\"?\" = 1\n")) {
        let place = root.key(&key);
        properties.insert(key.clone(), described(place.schema("Top level"), "Top level", &place));
    }
    let kinds: Vec<&str> = KINDS.iter().map(|keys| keys.name).collect();
    let references = kinds.iter().map(|kind| json!({ "$ref": format!("#/definitions/{kind}") }));
    let target = json!({ "oneOf": references.collect::<Vec<_>>() });
    let targets = Place { before: "target = ".into(), after: "\n".into(), path: "[target]".into() };
    let mut table = json!({ "type": "object", "additionalProperties": target });
    if let Some(names) = targets.names() {
        table["propertyNames"] = names;
    }
    properties.insert("target".into(), table);
    let definitions: Map<String, Value> =
        kinds.iter().map(|kind| ((*kind).to_owned(), self::kind(kind))).collect();
    json!({
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "Buildfile",
        "type": "object",
        "properties": properties,
        "additionalProperties": false,
        "definitions": definitions,
    })
}

/// Returns the schema of the targets of a kind.
fn kind(kind: &str) -> Value {
    let head = format!("[target.x]\nkind = \"{kind}\"\n");
    let root = Place { before: head.clone(), after: "\n".into(), path: String::new() };
    let mut properties = Map::new();
    for key in keys(&rules(&format!("{head}\"?\" = 1\n"))) {
        let place = root.key(&key);
        let value = match key.as_str() {
            "kind" => json!({ "const": kind }),
            _ => place.schema(kind),
        };
        properties.insert(key.clone(), described(value, kind, &place));
    }
    let mut sample = head.clone();
    let missing = rules(&head);
    for rule in &missing {
        let Rule::AnyOf(keys) = rule else { continue };
        let is_array = properties[&keys[0]]["type"] == "array";
        sample += &format!("{} = {}\n", keys[0], if is_array { "[\"a\"]" } else { "\"a\"" });
    }
    if rules(&format!("{sample}stamp = \"a\"\n")).contains(&Rule::NoStamp) {
        properties.remove("stamp");
    }
    let all: String = properties
        .keys()
        .filter(|key| *key != "kind")
        .map(|key| format!("{key} = {NEITHER}\n"))
        .collect();
    let both = rules(&format!("{head}{all}"));
    let alone: Vec<Rule> = properties
        .keys()
        .flat_map(|key| rules(&format!("{head}{key} = {NEITHER}\n")))
        .filter(|rule| matches!(rule, Rule::With(..)))
        .collect();
    let mut schema = json!({
        "type": "object",
        "properties": properties,
        "required": ["kind"],
        "additionalProperties": false,
    });
    relate(&mut schema, missing.into_iter().chain(both).chain(alone));
    schema
}

/// Adds the rules about keys of a table to its schema. Rules about values are ignored.
fn relate(schema: &mut Value, rules: impl Iterator<Item = Rule>) {
    let add = |schema: &mut Value, key: &str, value: Value| match &mut schema[key] {
        Value::Array(values) if values.contains(&value) => {}
        Value::Array(values) => values.push(value),
        other => *other = json!([value]),
    };
    for rule in rules {
        match rule {
            Rule::AnyOf(keys) => match keys.as_slice() {
                [key] => add(schema, "required", json!(key)),
                keys => {
                    let each: Vec<Value> =
                        keys.iter().map(|key| json!({ "required": [key] })).collect();
                    add(schema, "allOf", json!({ "anyOf": each }));
                }
            },
            Rule::NotBoth(keys) => add(schema, "allOf", json!({ "not": { "required": keys } })),
            Rule::With(key, other) => schema["dependencies"][key] = json!([other]),
            _ => {}
        }
    }
}

/// A place for a value in a Buildfile.
struct Place {
    /// The text before the value, and after it.
    before: String,
    after: String,
    /// Its name in `docs/BUILDFILE.md`: `platform.python`, `sources[].from`.
    path: String,
}

impl Place {
    fn key(&self, key: &str) -> Self {
        let Self { before, after, path } = self;
        Self {
            before: format!("{before}{key} = "),
            after: after.clone(),
            path: format!("{path}{key}"),
        }
    }

    /// Returns the place of a member of an array here.
    fn member(&self) -> Self {
        let Self { before, after, path } = self;
        Self { before: format!("{before}["), after: format!("]{after}"), path: format!("{path}[]") }
    }

    /// Returns the place of an entry of a table here.
    fn entry(&self, key: &str) -> Self {
        let Self { before, after, path } = self;
        Self {
            before: format!("{before}{{ {key} = "),
            after: format!(" }}{after}"),
            path: format!("{path}.{key}"),
        }
    }

    fn with(&self, value: &str) -> Vec<Rule> {
        rules(&format!("{}{value}{}", self.before, self.after))
    }

    /// Returns the rules that `value` breaks, without those that any value breaks here.
    fn broken_by(&self, value: &str) -> Vec<Rule> {
        let mut broken = self.with(value);
        for rule in self.with(NEITHER) {
            if rule != Rule::Type
                && let Some(at) = broken.iter().position(|other| *other == rule)
            {
                broken.remove(at);
            }
        }
        broken
    }

    /// Returns whether values of the type of `value` may be here.
    fn takes(&self, value: &str) -> bool {
        !self.with(value).contains(&Rule::Type)
    }

    /// Returns the schema of the value here. `section` has its description.
    fn schema(&self, section: &str) -> Value {
        let mut types = Vec::new();
        if self.takes("\"?\"") {
            types.push(self.string());
        }
        if self.takes("true") {
            types.push(json!({ "type": "boolean" }));
        }
        if self.takes("1") {
            types.push(self.integer());
        }
        if self.takes("[]") {
            let mut array = json!({ "type": "array", "items": self.member().schema(section) });
            if self.broken_by("[]").contains(&Rule::NotEmpty) {
                array["minItems"] = 1.into();
            }
            types.push(array);
        }
        if self.takes("{}") {
            types.push(self.table(section));
        }
        match types.as_slice() {
            [only] => only.clone(),
            several => json!({ "anyOf": several }),
        }
    }

    fn string(&self) -> Value {
        let mut schema = json!({ "type": "string" });
        for rule in ["\"?\"", "\"/ \"", "\"\""].into_iter().flat_map(|text| self.broken_by(text)) {
            match rule {
                Rule::Words(words) => {
                    let other = json!({ "type": "string", "pattern": REFERENCE });
                    return json!({ "anyOf": [{ "enum": words }, other] });
                }
                Rule::Known(words) => {
                    return json!({ "anyOf": [{ "enum": words }, { "type": "string" }] });
                }
                Rule::NotEmpty => schema["minLength"] = 1.into(),
                Rule::Pattern(pattern) => {
                    schema["pattern"] = format!("^({pattern})$|{REFERENCE}").into();
                }
                _ => {}
            }
        }
        schema
    }

    fn integer(&self) -> Value {
        let mut schema = json!({ "type": "integer" });
        for rule in self.broken_by("-1") {
            if let Rule::Range(first, last) = rule {
                schema["minimum"] = first.into();
                schema["maximum"] = last.into();
            }
        }
        schema
    }

    fn table(&self, section: &str) -> Value {
        let mut schema = json!({ "type": "object" });
        let broken = self.broken_by(&format!("{{ \"?\" = {NEITHER} }}"));
        if broken.contains(&Rule::Type) {
            schema["additionalProperties"] = self.entry("x").schema(section);
        } else if broken.iter().any(|rule| matches!(rule, Rule::Keys(_))) {
            let entries = keys(&broken).into_iter().map(|key| {
                let place = self.entry(&key);
                let value = described(place.schema(section), section, &place);
                (key, value)
            });
            schema["properties"] = Value::Object(entries.collect());
            schema["additionalProperties"] = false.into();
            let keys = schema["properties"].as_object().map(|keys| keys.keys().cloned());
            let all: Vec<String> =
                keys.into_iter().flatten().map(|key| format!("{key} = {NEITHER}")).collect();
            let all = self.broken_by(&format!("{{ {} }}", all.join(", ")));
            relate(&mut schema, self.broken_by("{}").into_iter().chain(all));
        }
        if let Some(names) = self.names() {
            schema["propertyNames"] = names;
        }
        schema
    }

    /// Returns the schema of the keys of a table here, if they have a form.
    fn names(&self) -> Option<Value> {
        let broken = self.broken_by("{ \"?\" = \"\" }");
        broken.iter().find_map(|rule| match rule {
            Rule::Pattern(pattern) => Some(json!({ "pattern": format!("^({pattern})$") })),
            _ => None,
        })
    }
}

/// Returns the rules that a Buildfile breaks.
fn rules(text: &str) -> Vec<Rule> {
    let loaded = targets::load(text, &BTreeMap::new());
    loaded.diagnostics.iter().filter_map(|mistake| mistake.rule().cloned()).collect()
}

/// Returns the keys of the table that has an unknown one.
fn keys(rules: &[Rule]) -> Vec<String> {
    let found = rules.iter().find_map(|rule| match rule {
        Rule::Keys(keys) => Some(keys.clone()),
        _ => None,
    });
    found.unwrap_or_default()
}

/// Adds the description of the manual to the schema of a key.
fn described(mut schema: Value, section: &str, place: &Place) -> Value {
    if let Some(row) = manual::row(section, &place.path) {
        schema["description"] = row.into();
    }
    schema
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(properties: &Value, path: &str, missing: &mut Vec<String>) {
        for (key, value) in properties.as_object().into_iter().flatten() {
            let path = format!("{path}.{key}");
            if value["description"].as_str().is_none_or(str::is_empty) && path != ".target" {
                missing.push(path.clone());
            }
            check(&value["properties"], &path, missing);
            check(&value["items"]["properties"], &path, missing);
            for other in value["items"]["anyOf"].as_array().into_iter().flatten() {
                check(&other["properties"], &path, missing);
            }
        }
    }

    #[test]
    fn every_key_has_the_description_of_the_manual() {
        let schema = schema();
        let mut missing = Vec::new();
        check(&schema["properties"], "", &mut missing);
        for keys in &KINDS {
            check(&schema["definitions"][keys.name]["properties"], keys.name, &mut missing);
        }
        assert!(missing.is_empty(), "{missing:?}");
    }

    #[test]
    fn types_words_and_relations_are_those_of_the_parser() {
        let schema = schema();
        let definitions = &schema["definitions"];
        let zip = &definitions["zip"];
        assert_eq!(zip["required"], json!(["kind", "staging"]));
        assert_eq!(
            zip["properties"]["compression"]["anyOf"][0]["enum"],
            json!(["keep", "smallest", "store"])
        );
        assert_eq!(zip["properties"]["limits"]["type"], "boolean");
        assert!(zip["properties"].get("stamp").is_none());
        let staging = &definitions["staging"]["properties"];
        assert_eq!(staging["wheels"]["items"]["type"], "string");
        let source = &staging["sources"]["items"]["anyOf"];
        assert_eq!(source[0]["type"], "string");
        assert_eq!(source[1]["required"], json!(["from"]));
        assert_eq!(source[1]["additionalProperties"], false);
        assert!(staging.get("stamp").is_some());
        let house = &definitions["wheelhouse"];
        let platform = &house["properties"]["platform"];
        assert_eq!(platform["required"], json!(["python", "arch"]));
        assert_eq!(house["properties"]["build-env"]["additionalProperties"]["type"], "string");
        assert_eq!(house["dependencies"]["package"], json!(["lock"]));
        let conditions = house["allOf"].as_array().unwrap();
        assert!(
            conditions.contains(&json!({ "not": { "required": ["lock", "requirements"] } })),
            "{conditions:?}"
        );
        let until = &definitions["zip"]["properties"]["until"];
        assert_eq!(until["properties"]["run"]["items"]["type"], "string");
        assert_eq!(until["allOf"][0]["anyOf"][0]["required"], json!(["run"]));
        assert_eq!(until["allOf"][1]["not"]["required"], json!(["run", "shell"]));
        assert_eq!(until["properties"]["every"]["type"], "string");
        assert_eq!(definitions["invoke"]["properties"]["timeout"]["maximum"], 5400);
        assert_eq!(
            definitions["invoke"]["properties"]["payload"]["anyOf"][1],
            json!({ "type": "object" })
        );
        assert_eq!(definitions["group"]["required"], json!(["kind", "targets"]));
        assert_eq!(schema["properties"]["vars"]["additionalProperties"]["type"], "string");
    }
}
