//! `--filter KEY=VALUE` of lists and of what is pruned.

use std::collections::BTreeMap;

use super::CommandError;

/// Filters by key. Several of one key: one of them has to hold; of several keys: all; of labels: all, too.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filters {
    by_key: BTreeMap<String, Vec<String>>,
}

impl Filters {
    /// # Errors
    /// When one has another key than `known`, or is no pair.
    pub fn parse(filters: &[String], known: &[&str]) -> Result<Self, CommandError> {
        let mut by_key = BTreeMap::<String, Vec<String>>::new();
        for filter in filters {
            // `label!=x`
            let (key, value) = filter.split_once('=').ok_or_else(|| {
                CommandError::new(format!("`{filter}` is no filter")).hint("write KEY=VALUE, as in label=tier=front")
            })?;
            if !known.contains(&key) {
                return Err(CommandError::new(format!("invalid filter '{key}'")).hint(format!(
                    "there are {}",
                    known.iter().map(|key| format!("{key}=")).collect::<Vec<_>>().join(", ")
                )));
            }
            by_key.entry(key.to_owned()).or_default().push(value.to_owned());
        }
        Ok(Self { by_key })
    }

    /// Whether one of the filters of a key holds; true when there is none.
    #[must_use]
    pub fn any(&self, key: &str, holds: impl Fn(&str) -> bool) -> bool {
        self.by_key.get(key).is_none_or(|values| values.iter().any(|value| holds(value)))
    }

    /// `label=KEY[=VALUE]` and `label!=KEY[=VALUE]`.
    #[must_use]
    pub fn labels(&self, labels: &BTreeMap<String, String>) -> bool {
        let holds = |filter: &String| match filter.split_once('=') {
            Some((key, value)) => labels.get(key).is_some_and(|have| have == value),
            None => labels.contains_key(filter),
        };
        let of = |key: &str| self.by_key.get(key).into_iter().flatten();
        of("label").all(holds) && !of("label!").any(holds)
    }

    /// `dangling=true` and the like.
    ///
    /// # Errors
    /// When it is neither true nor false.
    pub fn flag(&self, key: &str) -> Result<Option<bool>, CommandError> {
        let Some(value) = self.by_key.get(key).and_then(|values| values.last()) else { return Ok(None) };
        match value.as_str() {
            "true" | "1" => Ok(Some(true)),
            "false" | "0" => Ok(Some(false)),
            _ => Err(CommandError::new(format!("the filter {key}={value} is neither true nor false"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_hold_as_dockers() {
        let parse = |filters: &[&str]| {
            let filters: Vec<String> = filters.iter().map(ToString::to_string).collect();
            Filters::parse(&filters, &["name", "label", "label!", "dangling"])
        };
        let labels = BTreeMap::from([("a".to_owned(), "1".to_owned()), ("b".to_owned(), String::new())]);
        for (filters, holds) in [
            (&["label=a"][..], true),
            (&["label=a=1", "label=b"], true),
            (&["label=a=2"], false),
            (&["label=a", "label=c"], false),
            (&["label!=a=2"], true),
            (&["label!=b"], false),
        ] {
            assert_eq!(parse(filters).unwrap().labels(&labels), holds, "{filters:?}");
        }
        assert!(parse(&["name=x", "name=y"]).unwrap().any("name", |name| name == "y"));
        assert_eq!(parse(&["dangling=1"]).unwrap().flag("dangling").unwrap(), Some(true));
        assert!(parse(&["color=red"]).is_err() && parse(&["name"]).is_err());
        assert!(parse(&["dangling=maybe"]).unwrap().flag("dangling").is_err());
    }
}
