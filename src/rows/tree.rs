//! Where the fields of a table are in a JSON value, and the text of each.

use super::json;
use crate::error::quotable;
use std::borrow::Cow;

/// The fields that are wanted of an object, by their indexes.
#[derive(Default)]
pub struct Tree {
    /// Those that are the value itself.
    here: Vec<usize>,
    /// Those that are in members.
    members: Vec<(String, Tree)>,
}

impl Tree {
    /// Adds a field behind these names.
    pub fn add(&mut self, names: &[String], index: usize) {
        let Some((name, rest)) = names.split_first() else {
            self.here.push(index);
            return;
        };
        let known = self.members.iter().position(|(known, _)| known == name);
        let position = known.unwrap_or_else(|| {
            self.members.push((name.clone(), Tree::default()));
            self.members.len() - 1
        });
        self.members[position].1.add(rest, index);
    }

    /// All fields in it.
    fn indexes(&self) -> Vec<usize> {
        let below = self.members.iter().flat_map(|(_, tree)| tree.indexes());
        self.here.iter().copied().chain(below).collect()
    }
}

/// The text of a field.
#[derive(Debug, Clone, Default)]
pub enum FieldText<'a> {
    /// There is none.
    #[default]
    Missing,
    /// JSON.
    Json(Cow<'a, str>),
    /// The key goes on behind a text that has no JSON, which begins so.
    NotJson(String),
}

impl FieldText<'_> {
    /// The same, with a copy of the text.
    pub fn into_owned(self) -> FieldText<'static> {
        match self {
            FieldText::Missing => FieldText::Missing,
            FieldText::Json(text) => FieldText::Json(Cow::Owned(text.into_owned())),
            FieldText::NotJson(beginning) => FieldText::NotJson(beginning),
        }
    }

    /// Whether there is none.
    pub fn is_missing(&self) -> bool {
        matches!(self, FieldText::Missing)
    }
}

/// The texts of a row's fields, by their indexes.
pub type FieldTexts<'a> = Vec<FieldText<'a>>;

/// The first characters of a text, for a message.
pub fn beginning(text: &str) -> String {
    quotable(&text.chars().take(200).collect::<String>())
}

/// Finds the fields of a tree in a value. Of members of one name the last counts, as in jsonb.
pub fn find<'a>(tree: &Tree, value: &'a str, texts: &mut FieldTexts<'a>) {
    for index in &tree.here {
        texts[*index] = FieldText::Json(Cow::Borrowed(value));
    }
    match json::first(value) {
        _ if tree.members.is_empty() => (),
        b'"' => match json::text(value) {
            Some(text) => find_in_text(&tree.members, &text, texts),
            None => note_not_json(&tree.members, value, texts),
        },
        _ => find_members(&tree.members, value, texts),
    }
}

/// Finds fields in the members of a value. What is no object has none.
fn find_members<'a>(wanted: &[(String, Tree)], value: &'a str, texts: &mut FieldTexts<'a>) {
    let mut at = 0;
    while let Some((name, member)) = json::next_member(value, &mut at) {
        let tree = json::text(name)
            .and_then(|name| wanted.iter().find(|(known, _)| *known == name))
            .map(|(_, tree)| tree);
        if let Some(tree) = tree {
            for index in tree.indexes() {
                texts[index] = FieldText::Missing;
            }
            find(tree, member, texts);
        }
    }
}

/// Finds fields in the JSON that a string has. An empty string has none.
fn find_in_text(wanted: &[(String, Tree)], text: &str, texts: &mut FieldTexts) {
    if text.trim_ascii().is_empty() {
        return;
    }
    if !json::is_valid(text) {
        return note_not_json(wanted, text, texts);
    }
    let mut inner = vec![FieldText::Missing; texts.len()];
    match (json::first(text), json::text(text)) {
        // A string in the string.
        (b'"', Some(again)) => find_in_text(wanted, &again, &mut inner),
        (b'"', None) => note_not_json(wanted, text, &mut inner),
        _ => find_members(wanted, text, &mut inner),
    }
    for (text, found) in texts.iter_mut().zip(inner) {
        if !found.is_missing() {
            *text = found.into_owned();
        }
    }
}

/// Notes of fields that they are wanted of a text that is no JSON, or that JSON can't have.
fn note_not_json(wanted: &[(String, Tree)], text: &str, texts: &mut FieldTexts) {
    for index in wanted.iter().flat_map(|(_, tree)| tree.indexes()) {
        texts[index] = FieldText::NotJson(beginning(text));
    }
}
