//! The keys of an `upload`: the bundle, the functions, and the code that callers get.

use super::Upload;
use crate::aws::{LATEST, LATEST_PUBLISHED};
use crate::buildfile::table::{Item, Reader, Table, boolean, members, string};
use crate::buildfile::{mistakes, value};
use crate::deploy::Publish;
use crate::diagnostic::Spanned;
use crate::targets::layer;
use toml::de::DeValue;

/// Longest name of a function, and of an alias.
const FUNCTION_MAX: usize = 64;
const ALIAS_MAX: usize = 128;

pub(in crate::targets) fn read(table: &mut Table, reader: &mut Reader) -> Option<Upload> {
    let zip = table.required("zip", "\"…\"", reader, string);
    let functions = functions(table, reader);
    let layers = once(table.many("layers", reader, string), reader);
    let s3 = table.optional("s3", reader, layer::s3);
    let check = table.optional("check", reader, boolean).unwrap_or(true);
    let silence = table.many("silence", reader, value::rule);
    let publish = table.take("publish");
    let published = publish.and_then(|item| self::publish(item, reader));
    let alias = table.take("alias");
    if let (Some(publish), Some(alias), Some(published)) = (publish, alias, published)
        && published != Some(Publish::Version)
    {
        reader.report(mistakes::alias_of_nothing(&alias.span(), &publish.span(), table.owner()));
    }
    let alias = alias.and_then(|item| self::alias(item, reader));
    let publish = published.unwrap_or(alias.as_ref().map(|_| Publish::Version));
    let kms_key = table.optional("kms-key", reader, kms_key);
    let functions = functions.filter(|functions| !functions.is_empty());
    Some(Upload {
        zip: zip?,
        functions: functions?,
        layers,
        s3,
        check,
        silence,
        publish,
        alias,
        kms_key,
        digest: None,
    })
}

/// Returns the names without duplicates, which are reported.
fn once(names: Vec<Spanned<String>>, reader: &mut Reader) -> Vec<Spanned<String>> {
    let mut found: Vec<Spanned<String>> = Vec::new();
    for name in names {
        if let Some(first) = found.iter().find(|first| first.value == name.value) {
            reader.report(mistakes::twice(&name.span, &first.span, &name.value));
        } else {
            found.push(name);
        }
    }
    found
}

fn functions(table: &mut Table, reader: &mut Reader) -> Option<Vec<Spanned<String>>> {
    let (one, many) = (table.take("function"), table.take("functions"));
    match (one, many) {
        (None, None) => {
            let keys = ["function", "functions"];
            reader.report(mistakes::missing_either(table.span(), keys, table.owner()));
            None
        }
        (Some(one), Some(many)) => {
            let (first, second) = if one.start < many.start { (one, many) } else { (many, one) };
            let keys = ["function", "functions"];
            let (first, second) = (first.span(), second.span());
            reader.report(mistakes::only_one_of(&second, &first, keys, table.owner()));
            None
        }
        (Some(one), None) => Some(vec![function(one, reader)?]),
        (None, Some(many)) => {
            let found = once(members(many, reader, function)?, reader);
            if matches!(many.value, DeValue::Array(array) if array.is_empty()) {
                let hint = "name the functions that get the code";
                reader.report(mistakes::empty(&many.span(), "`functions`", hint));
            }
            Some(found)
        }
    }
}

/// The name or ARN of one function.
pub(in crate::targets) fn function(item: Item, reader: &mut Reader) -> Option<Spanned<String>> {
    let known = reader.mistakes.len();
    let name = value::filled(item, reader, "the name or ARN of a Lambda function")?;
    // The rest of a missing variable is not a second mistake.
    if reader.mistakes.len() == known
        && let Some(hint) = problem(&name.value)
    {
        reader.report(mistakes::bad_function(&name.span, &name.value, hint));
        return None;
    }
    Some(name)
}

/// What is wrong with the name of a function: `name`, `account:function:name`, or an ARN.
fn problem(name: &str) -> Option<&'static str> {
    let parts: Vec<&str> = name.split(':').collect();
    let name = match parts.as_slice() {
        [name] => name,
        [_, "function", name] | ["arn", _, "lambda", _, _, "function", name] => name,
        [_, _] | [_, "function", _, _] | ["arn", _, "lambda", _, _, "function", _, _] => {
            return Some("leave out the version or alias: code is uploaded to the function itself");
        }
        _ => return Some("write a name such as `MyFunction`, or an ARN of Lambda's"),
    };
    let known = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    if name.is_empty() || name.len() > FUNCTION_MAX || !name.chars().all(known) {
        return Some("a name has up to 64 ASCII letters, digits, `-` and `_`");
    }
    None
}

/// Reads `true`, `false`, or the word for a publication without a number.
fn publish(item: Item, reader: &mut Reader) -> Option<Option<Publish>> {
    match item.value {
        DeValue::Boolean(yes) => Some(yes.then_some(Publish::Version)),
        DeValue::String(_) => {
            let words = [("latest-published", Some(Publish::Latest))];
            value::word(item, reader, "way to publish", &words)
        }
        _ => {
            item.wrong("`true`, `false` or \"latest-published\"", reader);
            None
        }
    }
}

fn kms_key(item: Item, reader: &mut Reader) -> Option<String> {
    let known = reader.mistakes.len();
    let key = value::filled(item, reader, "the ARN of a KMS key")?;
    if reader.mistakes.len() == known && !is_kms_key(&key.value) {
        reader.report(mistakes::bad_kms_key(&key.span, &key.value));
        return None;
    }
    Some(key.value)
}

/// Returns whether `arn` has the form of a KMS key's ARN: Lambda accepts neither the id of a key
/// nor an alias alone.
pub fn is_kms_key(arn: &str) -> bool {
    let parts: Vec<&str> = arn.splitn(6, ':').collect();
    matches!(parts.as_slice(), ["arn", partition, "kms", region, account, key]
        if [partition, region, account].iter().all(|part| !part.is_empty())
            && (key.starts_with("key/") || key.starts_with("alias/")))
}

fn alias(item: Item, reader: &mut Reader) -> Option<String> {
    let known = reader.mistakes.len();
    let name = value::filled(item, reader, "a name such as `live`")?;
    if reader.mistakes.len() == known && !is_alias(&name.value) {
        reader.report(mistakes::bad_alias(&name.span, &name.value));
        return None;
    }
    Some(name.value)
}

/// Digits alone would be a version.
pub fn is_alias(name: &str) -> bool {
    let known = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    !name.is_empty()
        && name.len() <= ALIAS_MAX
        && name.chars().all(known)
        && !name.chars().all(|c| c.is_ascii_digit())
}

/// Returns whether `name` has the form of a version, an alias, or a name of Lambda's own.
pub fn is_qualifier(name: &str) -> bool {
    let is_number = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_digit());
    is_number || is_alias(name) || [LATEST, LATEST_PUBLISHED].contains(&name)
}

/// Returns whether `name` has the form of a function's name or ARN.
pub fn is_function(name: &str) -> bool {
    problem(name).is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_functions_are_told_from_what_lambda_refuses() {
        for name in [
            "hello",
            "My-Function_2",
            "123456789012:function:hello",
            "arn:aws:lambda:eu-west-1:123456789012:function:hello",
        ] {
            assert!(is_function(name), "{name}");
        }
        for name in [
            "bad name!",
            "",
            "hello:live",
            "arn:aws:lambda:eu-west-1:123456789012:function:hello:7",
            "arn:aws:s3:::bucket",
            "a/b",
        ] {
            assert!(!is_function(name), "{name}");
        }
    }

    #[test]
    fn keys_are_named_by_their_arn() {
        assert!(is_kms_key("arn:aws:kms:eu-west-1:123456789012:key/1234abcd-12ab"));
        assert!(is_kms_key("arn:aws-cn:kms:cn-north-1:123456789012:alias/code"));
        for name in ["", "1234abcd-12ab", "alias/code", "arn:aws:s3:::b", "arn:aws:kms:::key/1"] {
            assert!(!is_kms_key(name), "{name}");
        }
    }

    #[test]
    fn an_alias_is_no_number() {
        assert!(is_alias("live") && is_alias("v-2") && is_alias("7a"));
        for name in ["7", "live", "$LATEST", "$LATEST.PUBLISHED"] {
            assert!(is_qualifier(name), "{name}");
        }
        for name in ["", "a b/../c", "$latest", "live?x=y"] {
            assert!(!is_qualifier(name), "{name}");
        }
        assert!(!is_alias("7") && !is_alias("$LATEST") && !is_alias("") && !is_alias("a b"));
    }
}
