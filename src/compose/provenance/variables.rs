//! Every variable of a project: what it is, where it was set, where it is used.

use std::collections::BTreeMap;

use serde::Serialize;

use super::explain::{Position, Shown, ValueOf};
use super::secrecy::Secrecy;
use crate::compose::environment::{SetVariable, VariableSource};
use crate::compose::interpolate::locate_variable;
use crate::compose::request::Loaded;
use crate::compose::session::VariableUse;

/// A variable.
#[derive(Debug, Clone, Serialize)]
pub struct VariableReport {
    pub name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<Shown>,
    pub from: ValueOf,
    /// Where else it is set, without effect.
    pub also_set: Vec<OtherSetting>,
    pub used: Vec<VariableUsed>,
}

/// A setting of a variable that a stronger one hides.
#[derive(Debug, Clone, Serialize)]
pub struct OtherSetting {
    pub value: Shown,
    pub from: ValueOf,
}

/// A place that names a variable.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct VariableUsed {
    pub place: Option<Position>,
    pub path: String,
    /// What stands for it there when it has no value.
    pub default: Option<String>,
    pub required: bool,
}

impl Loaded {
    /// The variables that the files name, and those that env files of the project set; by name. A variable that an
    /// included file sees with another value is there twice.
    #[must_use]
    pub fn variables(&self) -> Vec<VariableReport> {
        let Some(tree) = &self.provenance.tree else { return Vec::new() };
        let secrecy = Secrecy::of(tree, &self.trail, &self.environment);
        let of_files = self.environment.iter().filter(|(_, set)| matches!(set.source, VariableSource::File { .. }));
        let unused = of_files.map(|(name, set)| (name.as_str(), Some(set), None));
        let used = self.trail.uses.iter().chain(&self.trail.passed).map(|used| {
            // An env file does not know yet what its variables are.
            let set = used.set.as_ref().or_else(|| self.environment.variable(&used.name));
            (used.name.as_str(), set, Some(used))
        });
        let mut reports: BTreeMap<(&str, String), VariableReport> = BTreeMap::new();
        for (name, set, used) in unused.chain(used) {
            let source = set.map(|set| format!("{}={}", set.source, set.value)).unwrap_or_default();
            let report = reports.entry((name, source)).or_insert_with(|| self.report(name, set, &secrecy));
            if let Some(used) = used.map(|used| self.used(used))
                && !report.used.contains(&used)
            {
                report.used.push(used);
            }
        }
        reports.into_values().collect()
    }

    fn report(&self, name: &str, set: Option<&SetVariable>, secrecy: &Secrecy) -> VariableReport {
        let shown = |set: &SetVariable| match secrecy.hides_variable(name) || secrecy.hides_text(&set.value) {
            true => Shown::Hidden,
            false => Shown::Value((*set.value).into()),
        };
        let others = match set == self.environment.variable(name) {
            true => self.environment.shadowed(name),
            false => &[],
        };
        VariableReport {
            name: name.to_owned(),
            value: set.map(shown),
            from: set.map_or(ValueOf::Unset, ValueOf::from),
            also_set: others.iter().map(|other| OtherSetting { value: shown(other), from: other.into() }).collect(),
            used: Vec::new(),
        }
    }

    fn used(&self, used: &VariableUse) -> VariableUsed {
        VariableUsed {
            place: Position::of(locate_variable(&self.sources, used.span, &used.name), &self.sources),
            path: used.path.clone(),
            default: used.default.clone().filter(|_| !Secrecy::is_content(&used.path)),
            required: used.required,
        }
    }
}
