//! A command line in one string, split into words as the peer does it: quotes, backslashes, no shell.

/// The words, and what was left out from the first shell operator on.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Split<'a> {
    pub words: Vec<String>,
    pub dropped: &'a str,
}

/// Splits `line`; `None` when a quote or bracket is not closed.
pub(super) fn split(line: &str) -> Option<Split<'_>> {
    let mut words = Vec::new();
    let mut word = String::new();
    // An argument has begun, even when it is empty so far (`""`).
    let mut begun = false;
    let (mut escaped, mut single, mut double, mut back, mut dollar) = (false, false, false, false, false);
    let mut dropped = "";
    for (index, c) in line.char_indices() {
        if escaped {
            word.push(c);
            (escaped, begun) = (false, true);
            continue;
        }
        match c {
            '\\' if single => word.push(c),
            '\\' => escaped = true,
            ' ' | '\t' | '\r' | '\n' => {
                if single || double || back || dollar {
                    word.push(c);
                } else if begun {
                    words.push(std::mem::take(&mut word));
                    begun = false;
                }
            }
            '`' if !(single || double || dollar) => {
                back = !back;
                word.push(c);
                begun = true;
            }
            ')' if !(single || double || back) => {
                if !dollar {
                    return None;
                }
                dollar = false;
                word.push(c);
            }
            '(' if !(single || double || back) => {
                if dollar || !word.ends_with('$') {
                    return None;
                }
                dollar = true;
                word.push(c);
            }
            '"' if !(single || dollar) => {
                double = !double;
                begun = true;
            }
            '\'' if !(double || dollar) => {
                single = !single;
                begun = true;
            }
            ';' | '&' | '|' | '<' | '>' if !(single || double || back || dollar) => {
                if c == '>' && word.starts_with(|c: char| c.is_ascii_digit()) {
                    begun = false;
                }
                dropped = &line[index..];
                break;
            }
            c => {
                word.push(c);
                begun = true;
            }
        }
    }
    if escaped || single || double || back || dollar {
        return None;
    }
    if begun {
        words.push(word);
    }
    Some(Split { words, dropped })
}

#[cfg(test)]
mod tests {
    use super::split;

    #[test]
    fn splits_as_the_peer_does() {
        for (line, words) in [
            (r"a\nb c\td", &["anb", "ctd"][..]),
            ("a # b", &["a", "#", "b"]),
            (r#""a\nb""#, &["anb"]),
            (r#"a"b c"d"#, &["ab cd"]),
            ("`a b` $(c d) x$(y)z", &["`a b`", "$(c d)", "x$(y)z"]),
            (r"a \  b", &["a", " ", "b"]),
            (r#"a "" b"#, &["a", "", "b"]),
            ("a ! {b} *", &["a", "!", "{b}", "*"]),
            ("", &[]),
        ] {
            let split = split(line).unwrap();
            assert_eq!(
                (split.words, split.dropped),
                (words.iter().map(|&word| word.to_owned()).collect(), ""),
                "{line}"
            );
        }
        assert_eq!(split("a && b").unwrap().words, ["a"]);
        assert_eq!(split("a && b").unwrap().dropped, "&& b");
        assert_eq!(split("a 2>x").unwrap().words, ["a"]);
        for line in ["a 'b", "a \"b", "a `b", "a\\", "(a b)", "x=(a b)", "a)"] {
            assert_eq!(split(line), None, "{line}");
        }
    }
}
