//! Text between the database's encoding and Rust's. Text of PostgreSQL's is bytes until it is read here.
//!
//! Values of rows, which may have megabytes, are converted in rows/.

use super::refs::calls;
use pgrx::pg_sys;
use std::ffi::{CStr, CString};

/// Most bytes that options and settings may have: several times as many as a session token, the longest of them. What has more is not
/// copied.
pub const LONGEST: usize = 1 << 16;

/// Text in Rust's encoding, and whether all of it was text.
pub struct Text {
    text: String,
    whole: bool,
}

impl Text {
    /// Reads bytes of the database's encoding. In SQL_ASCII, where they may be anything, they count as UTF-8.
    pub fn of_server(bytes: &[u8]) -> Text {
        let Some(encoding) = other_encoding(bytes) else {
            return Text::of_utf8(bytes);
        };
        let mut whole = true;
        let utf8 = convert(bytes, encoding, UTF8, |rest, converted| {
            whole = false;
            converted.extend_from_slice(escaped(&rest[..1]).as_bytes());
            1
        });
        let text = Text::of_utf8(&utf8);
        Text {
            whole: whole && text.whole,
            ..text
        }
    }

    /// Reads bytes that should be UTF-8.
    pub fn of_utf8(bytes: &[u8]) -> Text {
        let mut text = String::with_capacity(bytes.len());
        for chunk in bytes.utf8_chunks() {
            text.push_str(chunk.valid());
            text.push_str(&escaped(chunk.invalid()));
        }
        Text {
            whole: text.len() == bytes.len(),
            text,
        }
    }

    /// The text; `None` where some of it was none.
    pub fn checked(self) -> Option<String> {
        self.whole.then_some(self.text)
    }

    /// The text, with bytes that were none as `\xff`: for messages, and for names, as those that are known are ASCII.
    pub fn shown(self) -> String {
        self.text
    }
}

/// A name of PostgreSQL's for a message, empty for `None`.
pub fn shown(name: Option<&CStr>) -> String {
    name.map_or_else(String::new, |name| Text::of_server(name.to_bytes()).shown())
}

/// A name of the catalog's, as bytes.
pub fn name(name: &pg_sys::NameData) -> &CStr {
    // SAFETY: a NameData always ends in a zero byte.
    unsafe { CStr::from_ptr(name.data.as_ptr()) }
}

calls! {
    /// The number of the database's encoding.
    pub fn database_encoding() -> i32 = GetDatabaseEncoding();
    fn is_in_transaction() -> bool = IsTransactionState();
    fn default_conversion(from: i32, to: i32) -> pg_sys::Oid = FindDefaultConversionProc(from, to);
}

/// Text for PostgreSQL to print: in the database's encoding, with question marks for characters that the encoding lacks.
pub fn for_server(text: &str) -> CString {
    let text = text.replace('\0', "?");
    let bytes = match other_encoding(text.as_bytes()) {
        None => text.into_bytes(),
        Some(encoding) => convert(text.as_bytes(), UTF8, encoding, |rest, converted| {
            converted.push(b'?');
            let next = rest[1..].iter().position(|byte| byte & 0xc0 != 0x80);
            next.map_or(rest.len(), |next| next + 1)
        }),
    };
    CString::new(bytes).unwrap_or_default()
}

const UTF8: i32 = pg_sys::pg_enc::PG_UTF8 as _;
const SQL_ASCII: i32 = pg_sys::pg_enc::PG_SQL_ASCII as _;

/// The database's encoding, where these bytes are not the same in UTF-8. ASCII is a part of all that a database can have.
fn other_encoding(bytes: &[u8]) -> Option<i32> {
    if bytes.is_ascii() {
        return None;
    }
    let encoding = database_encoding();
    (![UTF8, SQL_ASCII].contains(&encoding)).then_some(encoding)
}

fn escaped(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("\\x{byte:02x}")).collect()
}

/// Most bytes that PostgreSQL is given at once.
const PIECE: usize = 1024;

/// Converts by PostgreSQL's conversions. Where bytes can't be converted, `otherwise` appends a replacement and returns how many bytes it replaces, at
/// least one.
fn convert(
    bytes: &[u8],
    from: i32,
    to: i32,
    mut otherwise: impl FnMut(&[u8], &mut Vec<u8>) -> usize,
) -> Vec<u8> {
    // A catalog look-up, which needs a transaction. An error may be raised outside of one.
    let conversion = match is_in_transaction() {
        true => default_conversion(from, to),
        false => pg_sys::InvalidOid,
    };
    let mut converted = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while !rest.is_empty() {
        let piece = &rest[..rest.len().min(PIECE)];
        let mut buffer = [0; PIECE * pg_sys::MAX_CONVERSION_GROWTH as usize + 1];
        let mut done = 0;
        if conversion != pg_sys::InvalidOid {
            // SAFETY: each length is that of its bytes. PostgreSQL writes no more than the second, and a zero byte at the end. It
            // stops without an error at bytes that it can't convert.
            done = unsafe {
                pg_sys::pg_do_encoding_conversion_buf(
                    conversion,
                    from,
                    to,
                    piece.as_ptr().cast_mut(),
                    piece.len() as _,
                    buffer.as_mut_ptr(),
                    buffer.len() as _,
                    true,
                )
            } as usize;
            let length = memchr::memchr(0, &buffer).unwrap_or_default();
            converted.extend_from_slice(&buffer[..length]);
        }
        if done == 0 {
            done = otherwise(rest, &mut converted);
        }
        rest = rest.get(done..).unwrap_or_default();
    }
    converted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_that_are_no_text() {
        for (bytes, shown, whole) in [
            (&b""[..], "", true),
            ("é€😀".as_bytes(), "é€😀", true),
            (b"xxx\xff", "xxx\\xff", false),
            (b"\xe2\x82x\xc3", "\\xe2\\x82x\\xc3", false),
            (b"\\xff", "\\xff", true),
            (b"\xed\xa0\x80", "\\xed\\xa0\\x80", false),
        ] {
            assert_eq!(Text::of_utf8(bytes).shown(), shown);
            assert_eq!(Text::of_utf8(bytes).checked().is_some(), whole);
        }
    }
}
