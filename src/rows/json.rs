//! Reads parts of JSON text without making values of the rest. All but [`is_valid`] is about text that is valid.
//!
//! Nothing here recurses, so deep nesting takes no stack.

use serde::de::IgnoredAny;
use std::borrow::Cow;

/// Whether a text is one JSON value.
pub fn is_valid(text: &str) -> bool {
    serde_json::from_str::<IgnoredAny>(text).is_ok()
}

/// The first character of a value, which tells its kind.
pub fn first(value: &str) -> u8 {
    value.trim_ascii_start().bytes().next().unwrap_or_default()
}

/// Whether a value is null.
pub fn is_null(value: &str) -> bool {
    value.trim_ascii() == "null"
}

/// The text of a JSON string; `None` where it escapes half of a character.
pub fn text(string: &str) -> Option<Cow<'_, str>> {
    let string = string.trim_ascii();
    let inner = string.strip_prefix('"')?.strip_suffix('"')?;
    match memchr::memchr(b'\\', inner.as_bytes()) {
        None => Some(Cow::Borrowed(inner)),
        Some(_) => serde_json::from_str(string).ok().map(Cow::Owned),
    }
}

/// Whether an array has a next element. `at` is as for [`next_element`].
pub fn has_next(array: &[u8], at: usize) -> bool {
    next_start(array, at, b'[').is_some()
}

/// The next element of an array; `None` after the last. `at` is 0 before the first, and the position behind an element afterwards.
pub fn next_element<'a>(array: &'a [u8], at: &mut usize) -> Option<&'a str> {
    let start = next_start(array, *at, b'[')?;
    *at = end(array, start);
    std::str::from_utf8(array.get(start..*at)?).ok()
}

/// The next member of an object, its name as a JSON string; `None` after the last. `at` is 0 before the first, and the position behind a
/// member afterwards.
pub fn next_member<'a>(object: &'a str, at: &mut usize) -> Option<(&'a str, &'a str)> {
    let bytes = object.as_bytes();
    let start = next_start(bytes, *at, b'{')?;
    let end_of_name = end(bytes, start);
    let colon = behind_space(bytes, end_of_name);
    let value = behind_space(bytes, colon + 1);
    *at = end(bytes, value);
    Some((object.get(start..end_of_name)?, object.get(value..*at)?))
}

/// Where the next element or member begins.
fn next_start(bytes: &[u8], at: usize, open: u8) -> Option<usize> {
    let before = behind_space(bytes, at);
    let expected = if at == 0 { open } else { b',' };
    if bytes.get(before) != Some(&expected) {
        return None;
    }
    let start = behind_space(bytes, before + 1);
    let is_end = matches!(bytes.get(start), None | Some(b']' | b'}'));
    (!is_end).then_some(start)
}

fn behind_space(bytes: &[u8], at: usize) -> usize {
    let rest = bytes.get(at..).unwrap_or_default();
    let space = (rest.iter()).position(|byte| !b" \t\n\r".contains(byte));
    at + space.unwrap_or(rest.len())
}

/// The position behind the value that begins at another.
fn end(bytes: &[u8], start: usize) -> usize {
    let mut at = start;
    let mut depth = 0_usize;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' => at = end_of_string(bytes, at),
            b'{' | b'[' => {
                depth += 1;
                at += 1;
            }
            b'}' | b']' => {
                depth = depth.saturating_sub(1);
                at += 1;
            }
            _ if depth > 0 => at += 1,
            _ => {
                let rest = &bytes[at..];
                let length = rest.iter().position(|byte| b",]} \t\n\r".contains(byte));
                at += length.unwrap_or(rest.len());
            }
        }
        if depth == 0 {
            break;
        }
    }
    at
}

/// The position behind the string that begins at another.
fn end_of_string(bytes: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    while let Some(found) = memchr::memchr2(b'"', b'\\', bytes.get(at..).unwrap_or_default()) {
        at += found;
        if bytes[at] == b'"' {
            return at + 1;
        }
        at += 2;
    }
    bytes.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::Value;

    fn elements(array: &str) -> Vec<&str> {
        let mut at = 0;
        std::iter::from_fn(|| next_element(array.as_bytes(), &mut at)).collect()
    }

    fn members(object: &str) -> Vec<(&str, &str)> {
        let mut at = 0;
        std::iter::from_fn(|| next_member(object, &mut at)).collect()
    }

    #[test]
    fn arrays() {
        assert_eq!(elements(" [ ] "), [""; 0]);
        assert_eq!(elements("[1]"), ["1"]);
        assert_eq!(
            elements(" [1 , \"a]\\\"\\\\\" ,[[],{}], {\"a\":[1,2]},null,-1.5e3\n]"),
            [
                "1",
                "\"a]\\\"\\\\\"",
                "[[],{}]",
                "{\"a\":[1,2]}",
                "null",
                "-1.5e3"
            ]
        );
        assert_eq!(elements("{}"), [""; 0]);
        assert_eq!(elements("5"), [""; 0]);
    }

    #[test]
    fn objects() {
        assert_eq!(members("{}"), []);
        assert_eq!(
            members(" {\"a\" : {\"b\": \"}\"}, \"\\u0061\":[ 1 ], \"\" :true} "),
            [
                ("\"a\"", "{\"b\": \"}\"}"),
                ("\"\\u0061\"", "[ 1 ]"),
                ("\"\"", "true")
            ]
        );
    }

    #[test]
    fn strings() {
        assert_eq!(text(" \"a\" ").as_deref(), Some("a"));
        assert_eq!(text("\"\\u00e9\\n\\\"\"").as_deref(), Some("é\n\""));
        assert_eq!(text("\"\\ud83d\\ude00\"").as_deref(), Some("😀"));
        assert_eq!(text("\"\\ud83d\""), None);
        assert_eq!(text("1"), None);
    }

    #[test]
    fn deep_nesting_takes_no_stack() {
        let deep = "[".repeat(3 << 20) + &"]".repeat(3 << 20);
        assert!(is_valid(&deep));
        assert_eq!(elements(&deep).len(), 1);
        assert!(!is_valid(&deep[1..]));
    }

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            "\\PC*".prop_map(Value::from),
            "[\"\\\\\\n{}\\[\\],:é]{0,6}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 5, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                prop::collection::hash_map("[a-c\"\\\\]{0,3}", inner, 0..5)
                    .prop_map(Value::from_iter),
            ]
        })
    }

    proptest! {
        #[test]
        fn parts_are_those_of_a_parser(value in value(), pretty in any::<bool>()) {
            let printed = match pretty {
                true => serde_json::to_string_pretty(&value).unwrap(),
                false => value.to_string(),
            };
            let parse = |text: &str| serde_json::from_str::<Value>(text).unwrap();
            match value {
                Value::Array(expected) => {
                    let found: Vec<Value> = elements(&printed).into_iter().map(parse).collect();
                    prop_assert_eq!(found, expected);
                }
                Value::Object(expected) => {
                    let found: serde_json::Map<String, Value> = members(&printed)
                        .into_iter()
                        .map(|(name, value)| (text(name).unwrap().into_owned(), parse(value)))
                        .collect();
                    prop_assert_eq!(found, expected);
                }
                Value::String(expected) => prop_assert_eq!(text(&printed).unwrap(), expected),
                _ => (),
            }
        }

        #[test]
        fn nothing_panics_on_other_text(given in "\\PC*|[\\[\\]{},:\" \\\\a1]{0,20}") {
            let _ = (elements(&given), members(&given), text(&given), is_valid(&given));
        }
    }
}
