//! Text from outside, made fit for a message.

/// The beginning of a text, in printable characters.
pub fn quotable(text: &str) -> String {
    shortened(text, 200)
}

/// The first `most` printable characters of a text.
pub fn shortened(text: &str, most: usize) -> String {
    let mut short = String::new();
    let mut left = most;
    for letter in text.chars() {
        let shown = printable(letter.encode_utf8(&mut [0; 4]));
        match left.checked_sub(shown.chars().count()) {
            Some(less) => left = less,
            None => return short + "...",
        }
        short.push_str(&shown);
    }
    short
}

/// The text with an escape such as `\u{1b}` for each character that is invisible or changes how others are displayed. A terminal would
/// obey such a character, and its reader would see another text than there is.
pub(super) fn printable(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for letter in text.chars() {
        match is_visible(letter) {
            true => shown.push(letter),
            false => shown.extend(letter.escape_unicode()),
        }
    }
    shown
}

/// Whether a character is visible. Unicode's control and format characters, marks of direction, characters without width, noncharacters and
/// those of private use are not.
pub fn is_visible(letter: char) -> bool {
    !letter.is_control()
        && !matches!(letter,
            '\u{ad}' | '\u{34f}' | '\u{600}'..='\u{605}' | '\u{61c}' | '\u{6dd}' | '\u{70f}' | '\u{890}'..='\u{891}' | '\u{8e2}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}'
            | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}'
            | '\u{fdd0}'..='\u{fdef}' | '\u{fff0}'..='\u{fffb}' | '\u{fffe}'..='\u{ffff}' | '\u{e000}'..='\u{f8ff}'
            | '\u{110bd}' | '\u{110cd}' | '\u{13430}'..='\u{1345f}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}'
            | '\u{e0000}'..='\u{10ffff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_quoted_is_short_and_printable() {
        assert_eq!(quotable("a\nb\0c"), "a\\u{a}b\\u{0}c");
        assert_eq!(quotable("\u{202e}\u{200b}é"), "\\u{202e}\\u{200b}é");
        assert_eq!(quotable(&"\x1b".repeat(1000)).len(), 33 * 6 + 3);
        assert_eq!(quotable(&"é".repeat(1000)).chars().count(), 203);
    }
}
