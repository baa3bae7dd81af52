//! Rust source as a list of tokens, without comments, literals and what is compiled for unit tests only.

/// Splits a source file into identifiers, `::` and single punctuation characters.
pub(crate) fn tokens(source: &str) -> Vec<String> {
    without_tests(&split(source))
}

fn split(source: &str) -> Vec<String> {
    let text: Vec<char> = source.chars().collect();
    let at = |index: usize| text.get(index).copied().unwrap_or('\0');
    let mut found = Vec::new();
    let mut index = 0;
    while index < text.len() {
        let start = index;
        match at(index) {
            '/' if at(index + 1) == '/' => {
                while index < text.len() && at(index) != '\n' {
                    index += 1;
                }
            }
            '/' if at(index + 1) == '*' => index = end_of_block_comment(&text, index),
            '"' => index = end_of_string(&text, index),
            '\'' => index = end_of_char_or_lifetime(&text, index),
            ':' if at(index + 1) == ':' => {
                found.push("::".to_owned());
                index += 2;
            }
            c if c.is_alphanumeric() || c == '_' => {
                while at(index).is_alphanumeric() || at(index) == '_' {
                    index += 1;
                }
                let word: String = text[start..index].iter().collect();
                // r"", br#""#, b'x' and the like.
                if matches!(word.as_str(), "r" | "br" | "cr") && matches!(at(index), '"' | '#') {
                    index = end_of_raw_string(&text, index);
                } else if !(matches!(word.as_str(), "b" | "c") && matches!(at(index), '"' | '\'')) {
                    found.push(word);
                }
            }
            c => {
                if !c.is_whitespace() {
                    found.push(c.to_string());
                }
                index += 1;
            }
        }
    }
    found
}

fn end_of_block_comment(text: &[char], mut index: usize) -> usize {
    let mut depth = 0;
    while index < text.len() {
        match &text[index..] {
            ['/', '*', ..] => (depth, index) = (depth + 1, index + 2),
            ['*', '/', ..] => (depth, index) = (depth - 1, index + 2),
            _ => index += 1,
        }
        if depth == 0 {
            break;
        }
    }
    index
}

fn end_of_string(text: &[char], mut index: usize) -> usize {
    index += 1;
    while index < text.len() && text[index] != '"' {
        index += if text[index] == '\\' { 2 } else { 1 };
    }
    index + 1
}

/// `index` is behind the `r`. A raw identifier (`r#type`) has no quote after its `#`.
fn end_of_raw_string(text: &[char], mut index: usize) -> usize {
    let hashes = text[index..].iter().take_while(|c| **c == '#').count();
    index += hashes;
    if text.get(index) != Some(&'"') {
        return index;
    }
    index += 1;
    let ends =
        |index: usize| text[index] == '"' && text[index + 1..].iter().take_while(|c| **c == '#').count() >= hashes;
    while index < text.len() && !ends(index) {
        index += 1;
    }
    index + 1 + hashes
}

fn end_of_char_or_lifetime(text: &[char], index: usize) -> usize {
    match &text[index + 1..] {
        // 'x', and '\'' or '\u{1F600}'
        ['\\', _, rest @ ..] => index + 3 + rest.iter().take_while(|c| **c != '\'').count() + 1,
        [_, '\'', ..] => index + 3,
        // A lifetime: its name is skipped with it.
        rest => index + 1 + rest.iter().take_while(|c| c.is_alphanumeric() || **c == '_').count(),
    }
}

/// Leaves out each item behind `#[cfg(test)]`, to its `;` or closing brace.
fn without_tests(all: &[String]) -> Vec<String> {
    const MARK: [&str; 7] = ["#", "[", "cfg", "(", "test", ")", "]"];
    let mut kept = Vec::new();
    let mut index = 0;
    while index < all.len() {
        if all[index..].len() >= MARK.len() && all[index..].iter().zip(MARK).all(|(token, mark)| token == mark) {
            index = end_of_item(all, index + MARK.len());
        } else {
            kept.push(all[index].clone());
            index += 1;
        }
    }
    kept
}

/// The index behind an item: behind its `;`, or the brace that closes its body.
fn end_of_item(tokens: &[String], mut index: usize) -> usize {
    let (mut depth, mut in_body) = (0_usize, false);
    while index < tokens.len() {
        match tokens[index].as_str() {
            "(" | "[" => depth += 1,
            "{" => {
                in_body |= depth == 0;
                depth += 1;
            }
            ")" | "]" | "}" => depth = depth.saturating_sub(1),
            ";" if depth == 0 => return index + 1,
            _ => {}
        }
        index += 1;
        // `use a::{b, c};` ends with its semicolon.
        if depth == 0 && in_body && tokens[index - 1] == "}" {
            return if tokens.get(index).is_some_and(|next| next == ";") { index + 1 } else { index };
        }
    }
    index
}

#[test]
fn comments_literals_and_tests_are_no_tokens() {
    let source = r##"
        //! use crate::a;
        /* use /* nested */ crate::b; */
        const A: &str = "use crate::c; \" {"; // }
        const B: &[u8] = br#"use "crate::d";"#;
        fn f<'a>(x: &'a str) -> char { '\'' }
        const C: [char; 2] = ['"', '\u{1F600}'];
        #[cfg(test)]
        use crate::{e, f};
        #[cfg(test)]
        mod tests { fn g() { if true { crate::g() } } }
        use crate::h;
    "##;
    let joined = tokens(source).join(" ");
    assert!(joined.ends_with("use crate :: h ;"), "{joined}");
    assert_eq!(joined.matches("crate").count(), 1, "{joined}");
}
