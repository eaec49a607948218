//! Values of the command line: of variables, payloads, variables of local handlers. They may be
//! passwords. In keys, records and messages they are replaced by a name.

/// Shorter values are searched for only as whole words, because they are part of many words.
const SHORTEST: usize = 4;

#[derive(Clone, Debug, Default)]
pub struct Typed(Vec<Value>);

#[derive(Clone, Debug)]
struct Value {
    name: String,
    /// As it was typed, quoted for a shell, and as a string of JSON.
    forms: Vec<String>,
}

impl Typed {
    /// Takes in a value. Messages call it `{NAME}`.
    pub fn add(&mut self, name: &str, value: &str) {
        let json = serde_json::Value::from(value).to_string();
        let json = json[1..json.len() - 1].to_owned();
        let mut forms = vec![value.to_owned(), value.replace('\'', r"'\''"), json];
        forms.extend(value.trim().lines().filter(|line| line.len() >= SHORTEST).map(str::to_owned));
        forms.retain(|form| !form.trim().is_empty());
        forms.sort_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
        forms.dedup();
        self.0.push(Value { name: name.into(), forms });
        // The longest first: one may contain another.
        let length = |value: &Value| value.forms.first().map_or(0, String::len);
        self.0.sort_by_key(|value| std::cmp::Reverse(length(value)));
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the names of the values in `text`.
    pub fn found_in(&self, text: &str) -> impl Iterator<Item = &str> {
        let found = |value: &&Value| value.forms.iter().any(|form| first(text, form).is_some());
        self.0.iter().filter(found).map(|value| value.name.as_str())
    }

    /// Returns `text` with `{NAME}` in place of every value.
    pub fn redact(&self, text: &str) -> String {
        let mut clean = text.to_owned();
        for Value { name, forms, .. } in &self.0 {
            for form in forms {
                clean = replace(&clean, form, &format!("{{{name}}}"));
            }
        }
        clean
    }
}

fn replace(text: &str, form: &str, name: &str) -> String {
    let mut clean = String::new();
    let mut rest = text;
    while let Some(at) = first(rest, form) {
        clean.push_str(&rest[..at]);
        clean.push_str(name);
        rest = &rest[at + form.len()..];
    }
    clean + rest
}

/// Returns the position of `form` in `text`.
fn first(text: &str, form: &str) -> Option<usize> {
    let is_whole = |at: usize| {
        let inside = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
        !inside(text[..at].chars().next_back()) && !inside(text[at + form.len()..].chars().next())
    };
    text.match_indices(form).map(|(at, _)| at).find(|at| form.len() >= SHORTEST || is_whole(*at))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(values: &[(&str, &str)]) -> Typed {
        let mut typed = Typed::default();
        values.iter().for_each(|(name, value)| typed.add(name, value));
        typed
    }

    #[test]
    fn a_name_stands_in_the_place_of_a_value_in_all_its_forms() {
        let typed = typed(&[("A", "it's \"x\""), ("B", "s3cret"), ("C", "s3cret-and-more")]);
        for (text, clean) in [
            ("echo it's \"x\"!", "echo {A}!"),
            (r#"'it'\''s "x"'"#, "'{A}'"),
            (r#"{"a":"it's \"x\""}"#, r#"{"a":"{A}"}"#),
            ("xs3crety s3cret-and-more", "x{B}y {C}"),
            ("nothing", "nothing"),
        ] {
            assert_eq!(typed.redact(text), clean);
        }
        let names = |text| typed.found_in(text).collect::<Vec<_>>();
        assert_eq!(names("s3cret"), ["B"]);
        assert_eq!(names("nothing"), [""; 0]);
    }

    #[test]
    fn a_short_value_is_found_as_a_word_only() {
        let typed = typed(&[("PIN", "12"), ("NONE", "")]);
        assert_eq!(typed.redact("--pin=12 v3.12 312 12a"), "--pin={PIN} v3.{PIN} 312 12a");
    }

    #[test]
    fn the_lines_of_a_value_are_values() {
        let typed = typed(&[("KEY", "-----BEGIN\nabcdef\n")]);
        assert_eq!(typed.redact("line: abcdef"), "line: {KEY}");
    }
}
