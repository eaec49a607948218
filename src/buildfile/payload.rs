//! A payload written in the Buildfile: a TOML value as the JSON that is sent.

use serde_json::{Map, Number, Value};
use toml::de::DeValue;

use super::mistakes;
use super::table::{Item, Reader, entries, in_order, members, text};

/// Returns the JSON of a value: keys in the order of the file, dates and times as strings. Reports
/// values that JSON does not have.
pub(crate) fn json(item: Item, reader: &mut Reader) -> Option<Value> {
    match item.value {
        DeValue::String(_) => text(item, reader).map(Value::String),
        DeValue::Boolean(value) => Some(Value::Bool(*value)),
        DeValue::Datetime(value) => Some(Value::String(value.to_string())),
        DeValue::Integer(value) => {
            let number = i64::from_str_radix(value.as_str(), value.radix()).ok();
            number.map(Value::from).or_else(|| not_json(item, "an integer of this size", reader))
        }
        DeValue::Float(value) => {
            let number = value.as_str().parse().ok().and_then(Number::from_f64);
            number.map(Value::Number).or_else(|| not_json(item, "this number", reader))
        }
        DeValue::Array(_) => members(item, reader, json).map(Value::Array),
        DeValue::Table(_) => {
            let mut object = Map::new();
            for (_, key, member) in in_order(entries(item, reader)?) {
                if let Some(value) = json(member, reader) {
                    object.insert(key.to_owned(), value);
                }
            }
            Some(Value::Object(object))
        }
    }
}

fn not_json(item: Item, what: &str, reader: &mut Reader) -> Option<Value> {
    reader.report(mistakes::not_json(&item.span(), what));
    None
}
