//! Takes responses apart: which rows one has, and where the fields of a row are.
//!
//! A response stays text. Of a field only its own part of the text is read, and `rows/field.rs` makes a datum of that.

use super::json;
use super::tree::{FieldText, FieldTexts, Tree, beginning, find};
use crate::columns::{Column, Layout};
use crate::error::{Error, ResponseProblem};
use crate::fields::{ELEMENT, Field, Key, Part, RESPONSE};
use crate::memory;
use std::cell::Cell;

/// Most copies of a text in memory at once, where JSON in it is a string.
const COPIES: usize = 3;

/// Where the fields of a table's responses are.
pub struct ResponseShape {
    /// The fields, in the order of the table's columns.
    pub fields: Vec<Field>,
    /// Where the array is that has an element for each row; `None` where a response is one row.
    rows: Option<Key>,
    /// The fields in an element, by their indexes.
    of_element: Tree,
    /// The fields in the response as a whole.
    of_response: Tree,
}

/// One response.
pub struct Response {
    /// The array with the rows. `None` where the response is one row.
    array: Option<Array>,
    /// Whether the one row of a response without an array was given.
    is_given: Cell<bool>,
    /// The fields in the response as a whole, where it has several rows.
    common: FieldTexts<'static>,
}

/// Where an array is.
struct Array {
    /// Its text, if that is in a string of the response.
    unescaped: Option<String>,
    /// Its position in the response, or in that text.
    start: usize,
    end: usize,
    /// Where the next element is looked for, from the start.
    at: Cell<usize>,
}

impl Array {
    fn text<'a>(&'a self, payload: &'a [u8]) -> &'a [u8] {
        let whole = match &self.unescaped {
            Some(text) => text.as_bytes(),
            None => payload,
        };
        whole.get(self.start..self.end).unwrap_or_default()
    }
}

impl ResponseShape {
    /// Has a response be one row, in which the fields of elements are null.
    pub fn leave_elements_out(&mut self) {
        if self.rows.take().is_some() {
            self.of_element = Tree::default();
        }
    }

    /// That of a table, for the columns that are read; `None` where its responses are not taken apart.
    pub fn of(layout: &Layout, is_read: impl Fn(Column) -> bool) -> Option<ResponseShape> {
        let fields: Vec<Field> = (layout.fields.iter())
            .filter(|field| field.column.part() == Some(Part::Response) && is_read(field.column))
            .cloned()
            .collect();
        if fields.is_empty() && layout.rows.is_none() {
            return None;
        }
        let mut shape = ResponseShape {
            rows: layout.rows.clone(),
            of_element: Tree::default(),
            of_response: Tree::default(),
            fields: Vec::new(),
        };
        for (index, field) in fields.iter().enumerate() {
            let names = &field.key.names[..];
            let (first, rest) = (names.first().map(String::as_str), names.get(1..));
            let rest = rest.unwrap_or_default();
            match first {
                Some(RESPONSE) => shape.of_response.add(rest, index),
                Some(ELEMENT) => shape.of_element.add(rest, index),
                _ => shape.of_element.add(names, index),
            }
        }
        shape.fields = fields;
        Some(shape)
    }

    /// Whether a response may have another number of rows than one.
    pub fn has_rows(&self) -> bool {
        self.rows.is_some()
    }

    /// A response that is one row without values.
    pub fn nothing(&self) -> Response {
        Response {
            array: None,
            is_given: Cell::new(false),
            common: Vec::new(),
        }
    }

    /// Begins to take a response apart.
    ///
    /// Errors if it is not JSON, or has no array where the rows ought to be.
    pub fn begin(&self, payload: &[u8]) -> Result<Response, Error> {
        memory::check_available(payload.len() * (COPIES + self.fields.len()), "response")?;
        let text = text_of(payload)?;
        let mut response = self.nothing();
        let Some(key) = &self.rows else {
            return Ok(response);
        };
        let names = match key.names.split_first() {
            Some((first, rest)) if first == RESPONSE => rest,
            _ => &key.names[..],
        };
        let not_rows = || Error::Rows {
            key: key.to_string(),
            beginning: beginning(text),
        };
        response.array = Some(find_array(text, names).ok_or_else(not_rows)?);
        let common = self.find(&self.of_response, text).into_iter();
        response.common = common.map(FieldText::into_owned).collect();
        Ok(response)
    }

    /// The values of a response's next row; `None` after the last row.
    pub fn next<'a>(
        &self,
        response: &'a Response,
        payload: &'a [u8],
    ) -> Result<Option<FieldTexts<'a>>, Error> {
        let Some(array) = &response.array else {
            if response.is_given.replace(true) {
                return Ok(None);
            }
            let text = std::str::from_utf8(payload).unwrap_or_default();
            let mut texts = self.find(&self.of_element, text);
            for (text, of_whole) in texts.iter_mut().zip(self.find(&self.of_response, text)) {
                if text.is_missing() {
                    *text = of_whole;
                }
            }
            return Ok(Some(texts));
        };
        let mut at = array.at.get();
        let next = json::next_element(array.text(payload), &mut at);
        array.at.set(at);
        let Some(element) = next else {
            return Ok(None);
        };
        memory::check_available(element.len() * (COPIES + self.fields.len()), "row")?;
        // Those of the response as a whole are the same in each row; see `common`.
        Ok(Some(self.find(&self.of_element, element)))
    }

    /// The text of a field in the response as a whole, where it has several rows.
    pub fn common<'a>(&self, response: &'a Response, index: usize) -> &'a FieldText<'static> {
        response.common.get(index).unwrap_or(&FieldText::Missing)
    }

    fn find<'a>(&self, tree: &Tree, text: &'a str) -> FieldTexts<'a> {
        let mut texts = vec![FieldText::Missing; self.fields.len()];
        find(tree, text, &mut texts);
        texts
    }
}

impl Response {
    /// Whether there is a row more.
    pub fn has_next(&self, payload: &[u8]) -> bool {
        match &self.array {
            None => !self.is_given.get(),
            Some(array) => json::has_next(array.text(payload), array.at.get()),
        }
    }

    /// The position of the row that was given last, which no other row of the response has.
    pub fn position(&self) -> u64 {
        self.array.as_ref().map_or(0, |array| array.at.get() as u64)
    }

    /// A number above each position.
    pub fn most_positions(&self) -> u64 {
        (self.array.as_ref()).map_or(1, |array| (array.end - array.start) as u64 + 1)
    }
}

/// The text of a response that is JSON.
fn text_of(payload: &[u8]) -> Result<&str, Error> {
    let unfit = |problem| Error::Response {
        column: "response".to_owned(),
        problem,
        beginning: beginning(&String::from_utf8_lossy(
            &payload[..payload.len().min(1024)],
        )),
    };
    let text = std::str::from_utf8(payload).map_err(|_| unfit(ResponseProblem::NotUtf8))?;
    match json::is_valid(text) {
        true => Ok(text),
        false => Err(unfit(ResponseProblem::NotJson)),
    }
}

/// The array at a key, which null stands for too: it is an empty one.
fn find_array(text: &str, names: &[String]) -> Option<Array> {
    let mut names = names.iter();
    let mut unescaped: Option<String> = None;
    let (mut start, mut end) = (0, text.len());
    loop {
        let whole = unescaped.as_deref().unwrap_or(text);
        let value = whole.get(start..end)?;
        if json::first(value) == b'"' {
            let inner = json::text(value)?.into_owned();
            if !json::is_valid(&inner) {
                return None;
            }
            (start, end) = (0, inner.len());
            unescaped = Some(inner);
            continue;
        }
        let Some(name) = names.next() else {
            let is_null = json::is_null(value);
            return (is_null || json::first(value) == b'[').then_some(Array {
                unescaped,
                start,
                end,
                at: Cell::new(0),
            });
        };
        let (mut at, mut member) = (0, None);
        while let Some((found, value)) = json::next_member(value, &mut at) {
            if json::text(found).is_some_and(|found| found == *name) {
                member = Some(at - value.len()..at);
            }
        }
        let member = member?;
        (start, end) = (start + member.start, start + member.end);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::TableObject;

    fn shape(rows: Option<&str>, keys: &[&str]) -> ResponseShape {
        let fields = (1..).zip(keys).map(|(number, key)| Field {
            column: Column::ResponseField(number),
            name: format!("c{number}"),
            key: Key::parse(key).unwrap(),
        });
        let layout = Layout {
            attributes: Vec::new(),
            fields: fields.collect(),
            rows: rows.and_then(Key::parse),
            table: String::new(),
            object: TableObject::default(),
        };
        ResponseShape::of(&layout, |_| true).unwrap()
    }

    /// The rows, with values that are not there as `-`. An error is a row of its own.
    fn rows(shape: &ResponseShape, payload: &str) -> Vec<String> {
        let error = |error: Error| error.texts().0;
        let response = match shape.begin(payload.as_bytes()) {
            Ok(response) => response,
            Err(problem) => return vec![error(problem)],
        };
        let mut rows = Vec::new();
        loop {
            match shape.next(&response, payload.as_bytes()) {
                Ok(None) => return rows,
                Ok(Some(texts)) => {
                    let shown = (texts.iter().enumerate()).map(|(index, text)| {
                        let text = match text {
                            FieldText::Missing => shape.common(&response, index),
                            text => text,
                        };
                        match text {
                            FieldText::Missing => "-".to_owned(),
                            FieldText::Json(text) => text.to_string(),
                            FieldText::NotJson(beginning) => format!("!{beginning}"),
                        }
                    });
                    rows.push(shown.collect::<Vec<_>>().join(" "));
                }
                Err(problem) => {
                    rows.push(error(problem));
                    return rows;
                }
            }
        }
    }

    fn quoted(text: &str) -> String {
        serde_json::Value::from(text).to_string()
    }

    #[test]
    fn one_row() {
        let shape = shape(None, &["a", "b.c", "b", "$", "@.a", "$.b.c"]);
        let whole = r#"{"a":1,"b":{"c":"x"}}"#;
        assert_eq!(
            rows(&shape, whole),
            [format!(r#"1 "x" {{"c":"x"}} {whole} 1 "x""#)]
        );
        assert_eq!(rows(&shape, "[]"), ["- - - [] - -"]);
        assert_eq!(rows(&shape, "null"), ["- - - null - -"]);
        assert_eq!(
            rows(&shape, r#"{"b":{"c":1},"b":{"d":1},"a":1,"\u0061":2}"#),
            [r#"2 - {"d":1} {"b":{"c":1},"b":{"d":1},"a":1,"\u0061":2} 2 -"#]
        );
    }

    #[test]
    fn json_in_strings() {
        let shape = shape(None, &["body.a", "body", "code"]);
        let body = quoted(r#"{"a":[1]}"#);
        assert_eq!(
            rows(&shape, &format!(r#"{{"code":200,"body":{body}}}"#)),
            [format!("[1] {body} 200")]
        );
        assert_eq!(rows(&shape, r#"{"body":""}"#), [r#"- "" -"#]);
        assert_eq!(rows(&shape, r#"{"body":"7"}"#), [r#"- "7" -"#]);
        let whole = quoted(r#"{"body":{"a":1}}"#);
        assert_eq!(rows(&shape, &whole), [r#"1 {"a":1} -"#]);
        let plain = r#"{"body":"oops","code":500}"#;
        assert_eq!(rows(&shape, plain), [r#"!oops "oops" 500"#]);
    }

    #[test]
    fn several_rows() {
        let several = shape(Some("items"), &["n", "$.total", "@"]);
        assert_eq!(
            rows(
                &several,
                r#"{"total":2,"items":[{"n":1}, {"n":null,"m":0},3]}"#
            ),
            [r#"1 2 {"n":1}"#, r#"null 2 {"n":null,"m":0}"#, "- 2 3"]
        );
        assert_eq!(rows(&several, r#"{"items":[]}"#), [""; 0]);
        assert_eq!(rows(&several, r#"{"items":null}"#), [""; 0]);
        for wrong in ["{}", "[]", "7", r#"{"items":{}}"#, r#"{"items":"x"}"#] {
            assert!(rows(&several, wrong)[0].contains("items"), "{wrong}");
        }
        let nested = shape(Some("body.x.items"), &["n"]);
        let element = r#"{"n":1}"#;
        let array = format!("[{element}]");
        let object = format!(r#"{{"x":{{"items":{array}}}}}"#);
        for given in [
            format!(r#"{{"body":{object}}}"#),
            format!(r#"{{"body":{}}}"#, quoted(&object)),
            format!(r#"{{"body":{{"x":{{"items":{}}}}}}}"#, quoted(&array)),
            quoted(&format!(r#"{{"body":{{"x":{{"items":[{}]}}}}}}"#, quoted(element))),
            quoted(&quoted(&format!(r#"{{"body":{object}}}"#))),
            r#"{"body":{"x":{"items":[0]}}, "body" : {"x": 1, "x": {"items":1,"items" : [ {"n":1} ] } } }"#.to_owned(),
        ] {
            assert_eq!(rows(&nested, &given), ["1"], "{given}");
        }
        let whole = shape(Some("$"), &["n"]);
        assert_eq!(rows(&whole, r#" [ {"n":1} , {} ] "#), ["1", "-"]);
        assert_eq!(rows(&whole, &quoted(&array)), ["1"]);
    }
}
