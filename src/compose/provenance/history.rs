//! What values were before. Recorded only when somebody asks: nodes carry a number, and it stays 0.

use indexmap::IndexMap;

use crate::compose::yaml::{Node, Origin, Past, Value};
use crate::diag::Span;

/// What came before the values of a load, by the numbers that its nodes carry.
#[derive(Debug, Clone, Default)]
pub struct History {
    on: bool,
    records: Vec<Record>,
}

/// The past of one value.
#[derive(Debug, Clone, Default)]
pub struct Record {
    pub rule: Rule,
    /// By which ways it came from where it stands, the innermost first.
    pub through: Vec<Through>,
    /// What was there before, the oldest first.
    pub lost: Vec<Layer>,
    /// Parts that were taken away, each with its past, the oldest first.
    pub removed: IndexMap<String, Vec<Layer>>,
}

/// A value that was there once.
#[derive(Debug, Clone)]
pub struct Layer {
    pub span: Span,
    pub origin: Origin,
    /// `None` for mappings and lists that others were merged into.
    pub value: Option<Node>,
    pub rule: Rule,
    pub through: Vec<Through>,
}

/// What a value does with what is there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Rule {
    /// Nothing was there.
    #[default]
    Set,
    Replaces,
    /// A command is never the words of two files.
    ReplacesList,
    /// `!override`.
    Override,
    /// `!reset`.
    Reset,
    /// Options of another log driver are none of this one.
    OtherDriver,
    /// An item of a list came after those before.
    Appended,
    /// A list took the items of another one.
    Appends,
    /// A mapping took the keys of another one.
    Merges,
    /// Two items of a list that mean the same thing, such as two mounts at one path.
    SameItem(&'static str),
    /// A key without a value leaves what is there.
    Empty,
    /// A name alone takes the value of the variable.
    FromVariable,
    /// No file says it.
    Made(Reason),
}

/// Why there is a value that no file gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    Default,
    DefaultNetwork,
    ExternalName,
    FullName,
    Implied,
    NameOfFlag,
    NameOfFolder,
    NameOfVariable,
    ShortForm,
}

/// A way by which a value came from where it stands to where it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Through {
    /// `*name`.
    Alias(Span),
    /// `<<: *name`.
    MergeKey(Span),
    Extends {
        span: Span,
        service: String,
    },
    Include(Span),
    EnvFile(Span),
    LabelFile(Span),
}

/// Numbers from here on stand for a [`Reason`] and need no record.
const MADE: u32 = 1 << 31;

const REASONS: [Reason; 9] = [
    Reason::Default,
    Reason::DefaultNetwork,
    Reason::ExternalName,
    Reason::FullName,
    Reason::Implied,
    Reason::NameOfFlag,
    Reason::NameOfFolder,
    Reason::NameOfVariable,
    Reason::ShortForm,
];

impl Past {
    /// The past of a value that no file gives.
    #[must_use]
    pub const fn made(reason: Reason) -> Self {
        Self(MADE | reason as u32)
    }
}

impl History {
    /// One that records.
    #[must_use]
    pub fn recording() -> Self {
        Self { on: true, records: Vec::new() }
    }

    #[must_use]
    pub fn is_on(&self) -> bool {
        self.on
    }

    /// The past of `node`.
    #[must_use]
    pub fn of(&self, node: &Node) -> Record {
        match node.past.0 {
            0 => Record::default(),
            number if number >= MADE => {
                let reason = REASONS.get((number - MADE) as usize).copied().unwrap_or(Reason::Default);
                Record { rule: Rule::Made(reason), ..Record::default() }
            }
            number => self.records.get(number as usize - 1).cloned().unwrap_or_default(),
        }
    }

    /// `node` as it is now, and all that was before it, the oldest first.
    #[must_use]
    pub fn layers(&self, node: &Node) -> Vec<Layer> {
        let record = self.of(node);
        let mut layers = record.lost;
        let whole = !matches!(record.rule, Rule::Appends | Rule::Merges);
        let value = (whole || !matches!(node.value, Value::Mapping(_) | Value::Sequence(_))).then(|| node.clone());
        let (span, origin) = (node.span, node.origin);
        layers.push(Layer { span, origin, value, rule: record.rule, through: record.through });
        layers
    }

    /// Remembers `base`, which `over` comes on top of.
    pub fn over(&mut self, base: &Node, over: &Node, rule: Rule) -> Past {
        if !self.on {
            return over.past;
        }
        self.after(self.layers(base), over, rule, self.of(base).removed)
    }

    /// Remembers that `over` says nothing about `base`.
    pub fn nothing_over(&mut self, base: &Node, over: &Node) -> Past {
        if !self.on {
            return base.past;
        }
        let mut record = self.of(base);
        let mut layers = self.layers(over);
        layers.iter_mut().for_each(|layer| layer.rule = Rule::Empty);
        record.lost.extend(layers);
        self.keep(record)
    }

    /// Remembers `layers`, which `over` comes after.
    pub fn after(&mut self, layers: Vec<Layer>, over: &Node, rule: Rule, removed: Removed) -> Past {
        if !self.on {
            return over.past;
        }
        let mut own = self.of(over);
        let mut record = Record { rule, through: own.through, lost: layers, removed };
        if let Some(first) = own.lost.first_mut()
            && first.rule == Rule::Set
            && rule == Rule::Replaces
        {
            // The first that `over` is made of is what meets `layers`.
            (first.rule, record.rule) = (rule, own.rule);
        }
        record.lost.extend(own.lost);
        record.removed.extend(own.removed);
        self.keep(record)
    }

    /// Remembers that `item` came to a list after others.
    pub fn appended(&mut self, item: &mut Node) {
        let mut record = self.of(item);
        if self.on && record.rule == Rule::Set {
            record.rule = Rule::Appended;
            item.past = self.keep(record);
        }
    }

    /// Remembers what a node did, whatever it did before.
    pub fn rule(&mut self, node: &mut Node, rule: Rule) {
        if self.on {
            let record = Record { rule, ..self.of(node) };
            node.past = self.keep(record);
        }
    }

    /// Adds to `removed` that `by` took `gone` away.
    pub fn remove(&self, removed: &mut Removed, key: &str, gone: &Node, by: &Node) {
        if self.on {
            let mut layers = self.layers(gone);
            let mut reset = self.layers(by);
            reset.iter_mut().for_each(|layer| (layer.rule, layer.value) = (Rule::Reset, None));
            layers.extend(reset);
            removed.insert(key.to_owned(), layers);
        }
    }

    /// Marks `node` and all below it as having come by `through`.
    pub fn through(&mut self, node: &mut Node, through: &Through) {
        if !self.on {
            return;
        }
        let mut record = self.of(node);
        let lost = record.lost.iter_mut().chain(record.removed.values_mut().flatten());
        for ways in lost.map(|layer| &mut layer.through).chain([&mut record.through]) {
            if let (Through::MergeKey(_), Some(Through::Alias(_))) = (through, ways.last()) {
                // `<<: *name` is one way, not two.
                ways.pop();
            }
            ways.push(through.clone());
        }
        node.past = self.keep(record);
        match &mut node.value {
            Value::Sequence(items) => items.iter_mut().for_each(|item| self.through(item, through)),
            Value::Mapping(mapping) => {
                mapping.0.values_mut().for_each(|entry| self.through(&mut entry.node, through));
            }
            _ => {}
        }
    }

    /// The parts that were taken away from what has this past.
    #[must_use]
    pub fn removed(&self, past: Past) -> Removed {
        let record = (past.0 as usize).checked_sub(1).and_then(|index| self.records.get(index));
        record.map(|record| record.removed.clone()).unwrap_or_default()
    }

    /// The same past with other parts taken away.
    pub fn with_removed(&mut self, past: Past, removed: Removed) -> Past {
        let record = (past.0 as usize).checked_sub(1).and_then(|index| self.records.get_mut(index));
        if let Some(record) = record.filter(|_| self.on) {
            // It was made for this merge alone.
            record.removed = removed;
        }
        past
    }

    fn keep(&mut self, record: Record) -> Past {
        self.records.push(record);
        Past(u32::try_from(self.records.len()).unwrap_or(0) & !MADE)
    }
}

/// Parts that were taken away.
pub type Removed = IndexMap<String, Vec<Layer>>;
