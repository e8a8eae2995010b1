//! System call filters: Docker's default and its JSON profiles, compiled to a balanced tree of number ranges.

mod assemble;
mod default;
mod numbers;
mod profile;

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::rc::Rc;

use crate::runtime::StartError;
use crate::runtime::capability::Capabilities;
use crate::runtime::spec::{Seccomp, Security};
use crate::runtime::start::Filter;

/// Compiled filters, for as long as the keeper lives.
#[derive(Debug, Default)]
pub(super) struct Cache {
    filters: HashMap<(Option<String>, Capabilities), Filter>,
}

impl Cache {
    /// The filter of a container; `None` runs without.
    pub(super) fn filter_of(
        &mut self,
        security: &Security,
        capabilities: Capabilities,
    ) -> Result<Option<Filter>, StartError> {
        let profile = match &security.seccomp {
            Seccomp::Unconfined => return Ok(None),
            Seccomp::Default if security.privileged => return Ok(None),
            Seccomp::Default => None,
            Seccomp::Profile(text) => Some(text.clone()),
        };
        let key = (profile, capabilities);
        if let Some(filter) = self.filters.get(&key) {
            return Ok(Some(Rc::clone(filter)));
        }
        let failed = |detail: String| StartError::new("seccomp profile", detail);
        let rules = match &key.0 {
            None => default::profile(),
            Some(text) => profile::Profile::parse(text).map_err(failed)?,
        };
        let machine = profile::Machine::this(capabilities);
        let program = rules.compile(&machine).map_err(failed)?;
        let filter: Filter = Rc::from(program);
        self.filters.insert(key, Rc::clone(&filter));
        Ok(Some(filter))
    }
}
