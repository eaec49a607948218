//! The keys of a `layer`, and the bucket that layers and uploads may go through.

use super::{Layer, S3};
use crate::buildfile::table::{Item, Reader, Table, boolean, entries, string, text};
use crate::buildfile::{mistakes, value};
use crate::diagnostic::Spanned;

/// Longest name of a layer.
const NAME_MAX: usize = 140;
/// Allowed lengths of a bucket's name.
const BUCKET: std::ops::RangeInclusive<usize> = 3..=63;

pub(in crate::targets) fn read(table: &mut Table, reader: &mut Reader) -> Option<Layer> {
    let zip = table.required("zip", "\"…\"", reader, string);
    let name = table.required("name", "\"…\"", reader, name);
    let runtimes = table.many("runtimes", reader, value::runtime);
    let archs = table.many("archs", reader, value::arch);
    let s3 = table.optional("s3", reader, s3);
    let check = table.optional("check", reader, boolean).unwrap_or(true);
    let silence = table.many("silence", reader, value::rule);
    Some(Layer { zip: zip?, name: name?, runtimes, archs, s3, check, silence })
}

pub(in crate::targets) fn s3(item: Item, reader: &mut Reader) -> Option<S3> {
    let mut table = Table::new(entries(item, reader)?, "`s3`".into(), item.span());
    let bucket = table.required("bucket", "\"…\"", reader, bucket);
    let prefix = table.optional("prefix", reader, text).unwrap_or_default();
    let storages = [("copy", false), ("reference", true)];
    let reference = table.optional("storage", reader, |item, reader| {
        value::word(item, reader, "storage", &storages)
    });
    table.done(reader);
    Some(S3 {
        bucket: bucket?,
        prefix: prefix.trim_matches('/').to_owned(),
        reference: reference.unwrap_or(false),
    })
}

fn name(item: Item, reader: &mut Reader) -> Option<Spanned<String>> {
    let known = reader.mistakes.len();
    let text = string(item, reader)?;
    // The rest of a missing variable is not a second mistake.
    if reader.mistakes.len() == known && !is_layer(&text.value) {
        reader.report(mistakes::bad_layer_name(&text.span, &text.value));
        return None;
    }
    Some(text)
}

fn bucket(item: Item, reader: &mut Reader) -> Option<String> {
    let known = reader.mistakes.len();
    let text = string(item, reader)?;
    if reader.mistakes.len() == known && !is_bucket(&text.value) {
        reader.report(mistakes::bad_bucket(&text.span, &text.value));
        return None;
    }
    Some(text.value)
}

fn is_layer(name: &str) -> bool {
    let known = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    (1..=NAME_MAX).contains(&name.len()) && name.chars().all(known)
}

/// Returns whether `name` has the form of a bucket's name.
pub fn is_bucket(name: &str) -> bool {
    let known = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '.');
    let edge = |c: char| matches!(c, '-' | '.');
    BUCKET.contains(&name.len())
        && name.chars().all(known)
        && !name.starts_with(edge)
        && !name.ends_with(edge)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_told_from_what_is_none() {
        assert!(is_layer("my-deps_2") && is_layer(&"x".repeat(140)));
        for name in ["", "my deps", "deps:3", "arn:aws:lambda:r:1:layer:deps", &"x".repeat(141)] {
            assert!(!is_layer(name), "{name}");
        }
        assert!(is_bucket("my-bundles.eu") && is_bucket("123"));
        for name in ["ab", "My-bucket", "s3://b", "a_b", "-abc", "abc.", "a/b"] {
            assert!(!is_bucket(name), "{name}");
        }
    }
}
