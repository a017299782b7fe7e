//! Small pieces of text: what peers sent made visible, words quoted for a shell, durations in milliseconds.

use std::{borrow::Cow, fmt::Write as _, time::Duration};

/// `text` with every control and direction-changing character as an escape, so that it cannot steer a terminal.
pub fn visible(text: &str) -> Cow<'_, str> {
    if !text.contains(is_hidden) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        match c {
            '\n' => shown.push_str("\\n"),
            '\r' => shown.push_str("\\r"),
            '\t' => shown.push_str("\\t"),
            c if is_hidden(c) => write!(shown, "\\u{:04x}", u32::from(c)).expect("a String takes everything"),
            c => shown.push(c),
        }
    }
    Cow::Owned(shown)
}

/// Control characters, line separators, and those that reorder or hide text. All are in the basic plane.
pub(super) fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

/// `word` as one word of a POSIX shell.
pub(super) fn shell(word: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_./:=,@%+".contains(&b);
    if !word.is_empty() && word.bytes().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", visible(word).replace('\'', r"'\''"))
}

/// `12.3 ms`.
pub(super) fn millis(took: Duration) -> String {
    format!("{:.1} ms", took.as_secs_f64() * 1000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_hidden_is_left() {
        assert_eq!(visible("a\x1b[31m\r\n\u{9b}\u{202e}é"), "a\\u001b[31m\\r\\n\\u009b\\u202eé");
        assert!(matches!(visible("plain"), Cow::Borrowed(_)));
    }

    #[test]
    fn shell_words_stay_one_word() {
        assert_eq!(shell("https://a/b"), "https://a/b");
        assert_eq!(shell("it's; rm -rf $HOME"), r"'it'\''s; rm -rf $HOME'");
        assert_eq!(shell("[::1]:443"), "'[::1]:443'");
        assert_eq!(shell(""), "''");
    }
}
