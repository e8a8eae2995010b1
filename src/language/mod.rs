//! Versions of a language: what a project asks for, and in which of its files it says so. No I/O.

pub mod declared;
pub mod range;
pub mod version;
pub mod wanted;

pub use range::Range;
pub use version::Version;
pub use wanted::Wanted;

/// A language whose version a project can name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Language {
    Node,
    Python,
}

impl Language {
    pub const ALL: [Self; 2] = [Self::Node, Self::Python];

    /// As `x-windlass.toolchain` has it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Node => "node",
            Self::Python => "python",
        }
    }

    /// As people call it.
    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Self::Node => "Node.js",
            Self::Python => "Python",
        }
    }

    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|language| language.name() == name)
    }

    /// The variable that the version is known by; the official images set it too.
    #[must_use]
    pub fn variable(self) -> &'static str {
        match self {
            Self::Node => "NODE_VERSION",
            Self::Python => "PYTHON_VERSION",
        }
    }
}
