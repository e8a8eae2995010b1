//! Which names a volume may have.

/// Why a name is not one of a volume.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{name}` is not a volume name: only letters, digits, `_`, `.` and `-` are allowed, a letter or digit first, at most 255 in all"
)]
pub struct NameError {
    pub name: String,
}

/// Docker's rule; it also keeps a name from being a path, or hidden.
pub(super) fn check(name: &str) -> Result<(), NameError> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
    let valid = name.len() <= 255
        && name.bytes().all(plain)
        && name.bytes().next().is_some_and(|first| first.is_ascii_alphanumeric());
    if valid { Ok(()) } else { Err(NameError { name: name.to_owned() }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_dockers() {
        for good in ["a", "shop_data", "0.1-x", &"a".repeat(255)] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        for bad in ["", ".", "..", ".rm-x", "_a", "-a", "a/b", "a b", "a\0", "é", &"a".repeat(256)] {
            assert!(check(bad).is_err(), "{bad}");
        }
    }
}
