//! Patterns for paths in the dialect of `.dockerignore`.

use std::path::Path;

use std::os::unix::ffi::OsStrExt;

/// One pattern of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    glob: Glob,
    /// Only the last name of a path counts.
    name_only: bool,
    /// `!`: what it matches is kept.
    pub negated: bool,
    /// The names between its slashes, to tell whether something below a folder can match.
    parts: Vec<Glob>,
}

impl Pattern {
    /// A line of a `.dockerignore`, or an item of `ignore` and `include`; `None` for comments and empty lines.
    #[must_use]
    pub fn docker(line: &str) -> Option<Self> {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            return None;
        }
        let (negated, text) = match line.strip_prefix('!') {
            Some(rest) => (true, rest.trim()),
            None => (false, line),
        };
        let text = clean(text);
        if text.is_empty() {
            return None;
        }
        Some(Self::new(&text, negated))
    }

    fn new(text: &str, negated: bool) -> Self {
        // `**/name` is the same as the name alone, and quicker.
        let (name_only, text) = match text.strip_prefix("**/") {
            Some(rest) if !rest.contains('/') && !rest.contains("**") => (true, rest),
            _ => (false, text),
        };
        let parts = if name_only { Vec::new() } else { text.split('/').map(Glob::new).collect() };
        Self { glob: Glob::new(text), name_only, negated, parts }
    }

    /// Whether the relative path itself is meant.
    #[must_use]
    pub fn matches(&self, path: &Path) -> bool {
        let text = match self.name_only {
            true => path.file_name().unwrap_or_default().as_bytes(),
            false => path.as_os_str().as_bytes(),
        };
        self.glob.matches(text)
    }

    /// Whether the path or a folder above it is meant, as `.dockerignore` has it.
    #[must_use]
    pub fn matches_or_parent(&self, path: &Path) -> bool {
        path.ancestors().take_while(|path| !path.as_os_str().is_empty()).any(|path| self.matches(path))
    }

    /// Whether something below this folder could be meant.
    #[must_use]
    pub fn may_match_below(&self, folder: &Path) -> bool {
        if self.name_only {
            return true;
        }
        let mut parts = self.parts.iter();
        for name in folder {
            match parts.next() {
                None => return false,
                Some(part) if part.crosses_folders() => return true,
                Some(part) if part.matches(name.as_bytes()) => {}
                Some(_) => return false,
            }
        }
        parts.next().is_some()
    }
}

/// Without leading and doubled slashes, `.` and a slash at the end.
fn clean(text: &str) -> String {
    let mut names: Vec<&str> = Vec::new();
    for name in text.split('/') {
        match name {
            "" | "." => {}
            ".." => {
                names.pop();
            }
            name => names.push(name),
        }
    }
    names.join("/")
}

/// A text with wildcards, matched as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Glob {
    tokens: Vec<Token>,
    /// The text, when there is no wildcard in it.
    literal: Option<Vec<u8>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Byte(u8),
    /// `?`
    One,
    /// `*`
    Many,
    /// `**`
    Everything,
    /// `**/`, the way in: no folder at all, or ...
    Folders,
    /// ... anything up to a slash.
    InFolders,
    /// `[a-z]`, `[!a]`
    Class {
        negated: bool,
        ranges: Vec<(u8, u8)>,
    },
}

impl Glob {
    fn new(text: &str) -> Self {
        let bytes = text.as_bytes();
        let mut tokens = Vec::new();
        let mut at = 0;
        while let Some(&byte) = bytes.get(at) {
            at += 1;
            match byte {
                b'*' if bytes.get(at) == Some(&b'*') => {
                    at += 1;
                    if bytes.get(at) == Some(&b'/') {
                        at += 1;
                        tokens.extend([Token::Folders, Token::InFolders]);
                    } else {
                        tokens.push(Token::Everything);
                    }
                }
                b'*' => tokens.push(Token::Many),
                b'?' => tokens.push(Token::One),
                b'\\' if at < bytes.len() => {
                    tokens.push(Token::Byte(bytes[at]));
                    at += 1;
                }
                b'[' => match class(&bytes[at..]) {
                    Some((token, length)) => {
                        tokens.push(token);
                        at += length;
                    }
                    None => tokens.push(Token::Byte(b'[')),
                },
                byte => tokens.push(Token::Byte(byte)),
            }
        }
        let literal = tokens
            .iter()
            .map(|token| match token {
                Token::Byte(byte) => Some(*byte),
                _ => None,
            })
            .collect();
        Self { tokens, literal }
    }

    fn crosses_folders(&self) -> bool {
        self.tokens.iter().any(|token| matches!(token, Token::Everything | Token::Folders))
    }

    /// All places of the pattern at which the text may have arrived are followed at once: no pattern takes longer than
    /// its length times that of the text.
    fn matches(&self, text: &[u8]) -> bool {
        if let Some(literal) = &self.literal {
            return literal == text;
        }
        let mut now = vec![false; self.tokens.len() + 1];
        self.arrive(0, &mut now);
        for &byte in text {
            let mut next = vec![false; self.tokens.len() + 1];
            for (place, token) in self.tokens.iter().enumerate().filter(|(place, _)| now[*place]) {
                match token {
                    Token::Byte(wanted) if *wanted == byte => self.arrive(place + 1, &mut next),
                    Token::One if byte != b'/' => self.arrive(place + 1, &mut next),
                    Token::Many if byte != b'/' => self.arrive(place, &mut next),
                    Token::Everything => self.arrive(place, &mut next),
                    Token::InFolders => {
                        next[place] = true;
                        if byte == b'/' {
                            self.arrive(place + 1, &mut next);
                        }
                    }
                    Token::Class { negated, ranges } => {
                        let inside = ranges.iter().any(|(low, high)| (*low..=*high).contains(&byte));
                        if inside != *negated && byte != b'/' {
                            self.arrive(place + 1, &mut next);
                        }
                    }
                    _ => {}
                }
            }
            now = next;
        }
        now.last().copied().unwrap_or(false)
    }

    /// Marks a place, and those that are reached from there without any text.
    fn arrive(&self, place: usize, at: &mut [bool]) {
        at[place] = true;
        match self.tokens.get(place) {
            Some(Token::Many | Token::Everything) => self.arrive(place + 1, at),
            Some(Token::Folders) => {
                at[place + 1] = true;
                self.arrive(place + 2, at);
            }
            _ => {}
        }
    }
}

/// The class that begins after a `[`, and how long its text is; `None` when it is not closed.
fn class(bytes: &[u8]) -> Option<(Token, usize)> {
    let mut at = 0;
    let negated = matches!(bytes.first(), Some(b'^' | b'!'));
    if negated {
        at += 1;
    }
    let mut ranges = Vec::new();
    let next = |at: &mut usize| {
        if bytes.get(*at) == Some(&b'\\') {
            *at += 1;
        }
        let byte = bytes.get(*at).copied();
        *at += 1;
        byte
    };
    loop {
        if bytes.get(at) == Some(&b']') && !ranges.is_empty() {
            return Some((Token::Class { negated, ranges }, at + 1));
        }
        let low = next(&mut at)?;
        let high = match bytes.get(at..at + 2) {
            Some(&[b'-', end]) if end != b']' => {
                at += 1;
                next(&mut at)?
            }
            _ => low,
        };
        ranges.push((low, high));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn docker(pattern: &str, path: &str) -> bool {
        Pattern::docker(pattern).unwrap().matches_or_parent(Path::new(path))
    }

    #[test]
    fn dockers_patterns_begin_at_the_root() {
        for (pattern, path) in [
            ("node_modules", "node_modules/left-pad/index.js"),
            ("/node_modules/", "node_modules"),
            ("*.md", "README.md"),
            ("**/*.md", "docs/a/README.md"),
            ("**/*.md", "README.md"),
            ("**.md", "docs/README.md"),
            ("docs/**", "docs/a/b"),
            ("a/**/z", "a/z"),
            ("a/**/z", "a/b/c/z"),
            ("./temp?", "temp1"),
            ("[a-c]x", "bx"),
            ("[!a-c]x", "dx"),
            ("src/*/cache", "src/app/cache/file"),
            ("a\\*b", "a*b"),
            ("a[", "a["),
        ] {
            assert!(docker(pattern, path), "{pattern} means {path}");
        }
        for (pattern, path) in [
            ("node_modules", "sub/node_modules"),
            ("*.md", "docs/README.md"),
            ("a/**/z", "a/bz"),
            ("**/foo", "barfoo"),
            ("temp?", "temp"),
            ("temp?", "temp/"),
            ("src/*/cache", "src/a/b/cache"),
            ("[!a-c]x", "ax"),
            ("a\\*b", "axb"),
        ] {
            let path = path.trim_end_matches('/');
            assert!(!docker(pattern, path), "{pattern} does not mean {path}");
        }
        assert!(Pattern::docker("# a comment").is_none() && Pattern::docker("  ").is_none());
        assert!(Pattern::docker("!keep").unwrap().negated);
    }

    #[test]
    fn what_may_match_below_a_folder() {
        let below = |pattern: &str, folder: &str| Pattern::docker(pattern).unwrap().may_match_below(Path::new(folder));
        assert!(below("!src/app/**", "src"));
        assert!(below("!src/app", "src"));
        assert!(below("!*/keep", "anything"));
        assert!(below("!**/keep/it", "a/b"));
        assert!(!below("!src/app", "docs"));
        assert!(!below("!src", "src"));
    }

    #[test]
    fn many_stars_take_no_time() {
        let pattern = Pattern::docker(&"*a".repeat(200)).unwrap();
        assert!(!pattern.matches(Path::new(&"a".repeat(150))));
    }
}
