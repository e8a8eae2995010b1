//! From rules to classic BPF: the architecture first, then a balanced tree over ranges of call numbers.
//!
//! Installing a filter makes the kernel run it once for every call number, so a linear list of 400 comparisons costs
//! more than half a millisecond, this tree about 50 microseconds. The program is written back to front: whatever is
//! jumped to exists already, so that every distance is known.

use std::collections::BTreeMap;

use super::profile::{Action, ArchitectureName, Compare, Op, Rule};
use crate::sys::seccomp::Instruction;

const LOAD: u16 = 0x20;
const AND: u16 = 0x54;
const JUMP: u16 = 0x05;
const JUMP_EQUAL: u16 = 0x15;
const JUMP_GREATER: u16 = 0x25;
const JUMP_GREATER_EQUAL: u16 = 0x35;
const RETURN: u16 = 0x06;

/// Offsets in `struct seccomp_data`.
const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;
const ARGUMENTS: u32 = 16;

/// Set in the call numbers of x32, which otherwise looks like x86-64.
const X32_BIT: u32 = 0x4000_0000;
/// From here on x32 has calls of its own.
const X32_OWN: u32 = 512;
/// From here on arm has calls of its own.
const ARM_OWN: u32 = 0xf_0000;
const ENOSYS: u16 = 38;

/// What a filter does with one call.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Decision {
    Do(Action),
    /// The first alternative whose conditions all hold counts, else the last action.
    Check(Vec<(Vec<Compare>, Action)>, Action),
}

/// The decisions for one architecture, as ranges: each begins at its number and ends before the next.
#[derive(Debug)]
pub(super) struct Filter {
    ranges: Vec<(u32, Decision)>,
}

impl Filter {
    pub(super) fn of(architecture: ArchitectureName, default: Action, rules: &[&Rule]) -> Self {
        let mut calls: BTreeMap<u32, Vec<&Rule>> = BTreeMap::new();
        for rule in rules {
            for name in &rule.names {
                if let Some(number) = architecture.number(name) {
                    calls.entry(number).or_default().push(rule);
                }
            }
        }
        let own = match architecture {
            ArchitectureName::X32 => X32_OWN,
            ArchitectureName::Arm => ARM_OWN,
            _ => u32::MAX,
        };
        let newest = calls.range(..own).next_back().map(|(number, _)| *number);
        let mut ranges = vec![(0, Decision::Do(default))];
        let mut push = |number: u32, decision: Decision| match ranges.last_mut() {
            Some((last, replaced)) if *last == number => *replaced = decision,
            Some((_, last)) if *last == decision => {}
            _ => ranges.push((number, decision)),
        };
        // A program may try a call that the profile is too old to know. It must hear that the call does not exist, so
        // that it takes the older way, not that it is forbidden.
        let unknown = match default {
            Action::Allow | Action::Log | Action::Trace(_) => Decision::Do(default),
            _ => Decision::Do(Action::Errno(ENOSYS)),
        };
        let mut in_own = false;
        for (number, rules) in &calls {
            if *number >= own && !in_own {
                in_own = true;
                if let Some(newest) = newest {
                    push(newest + 1, unknown.clone());
                }
                push(own, Decision::Do(default));
            }
            push(*number, decide(rules, default));
            push(*number + 1, Decision::Do(default));
        }
        let end = if architecture == ArchitectureName::Arm { None } else { calls.keys().next_back() };
        match (end, newest) {
            (Some(last), _) => push(last + 1, unknown),
            (None, Some(newest)) if !in_own => {
                push(newest + 1, unknown);
                push(own, Decision::Do(default));
            }
            _ => {}
        }
        // Equal neighbours may have come about by replacement.
        ranges.dedup_by(|next, previous| next.1 == previous.1);
        Self { ranges }
    }
}

fn decide(rules: &[&Rule], default: Action) -> Decision {
    // An unconditional rule makes the conditions of others superfluous when they do the same, and is what remains
    // when they do something else.
    let plain = rules.iter().find(|rule| rule.compares.is_empty()).map(|rule| rule.action);
    let rest = plain.unwrap_or(default);
    let checks: Vec<_> = rules
        .iter()
        .filter(|rule| !rule.compares.is_empty() && rule.action != rest)
        .map(|rule| (rule.compares.clone(), rule.action))
        .collect();
    if checks.is_empty() { Decision::Do(rest) } else { Decision::Check(checks, rest) }
}

/// Where to go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Target {
    /// An instruction, counted from the end of the program.
    At(usize),
    Return(u32),
}

/// A program in the making, last instruction first.
#[derive(Debug, Default)]
struct Assembler {
    reversed: Vec<Instruction>,
}

/// A conditional jump reaches this far.
const REACH: usize = 255;

impl Assembler {
    fn push(&mut self, code: u16, jt: u8, jf: u8, k: u32) -> usize {
        self.reversed.push(Instruction { code, jt, jf, k });
        self.reversed.len() - 1
    }

    /// How many instructions lie between the next one to be written and `at`.
    fn distance(&self, at: usize) -> usize {
        self.reversed.len() - at - 1
    }

    /// An instruction near enough that stands for the target, after `more` others are written.
    fn near(&mut self, target: Target, more: usize) -> usize {
        match target {
            Target::At(at) if self.distance(at) + more <= REACH => at,
            Target::At(at) => {
                let distance = self.distance(at) as u32;
                self.push(JUMP, 0, 0, distance)
            }
            Target::Return(code) => {
                let from = (self.reversed.len() + more).saturating_sub(REACH);
                let known = self.reversed[from.min(self.reversed.len())..]
                    .iter()
                    .position(|i| i.code == RETURN && i.k == code)
                    .map(|found| found + from);
                known.unwrap_or_else(|| self.push(RETURN, 0, 0, code))
            }
        }
    }

    fn branch(&mut self, code: u16, k: u32, yes: Target, no: Target) -> Target {
        // Making one of them near may add one instruction, which lies between us and the other.
        let yes = self.near(yes, 2);
        let no = self.near(no, 1);
        let (jt, jf) = (self.distance(yes) as u8, self.distance(no) as u8);
        Target::At(self.push(code, jt, jf, k))
    }

    /// An instruction that goes on at `next`.
    fn before(&mut self, code: u16, k: u32, next: Target) -> Target {
        let next = match next {
            Target::At(at) => at,
            Target::Return(_) => self.near(next, 0),
        };
        if self.distance(next) > 0 {
            let distance = self.distance(next) as u32;
            self.push(JUMP, 0, 0, distance);
        }
        Target::At(self.push(code, 0, 0, k))
    }

    fn compare(&mut self, compare: &Compare, yes: Target, no: Target) -> Target {
        let low = ARGUMENTS + 8 * u32::from(compare.arg);
        let high = low + 4;
        let (value_high, value_low) = ((compare.value >> 32) as u32, compare.value as u32);
        let (mask_high, mask_low) = ((compare.mask >> 32) as u32, compare.mask as u32);
        match compare.op {
            Op::Ne => self.equal(compare, no, yes),
            Op::Eq | Op::MaskedEq => self.equal(compare, yes, no),
            Op::Lt => self.compare(&Compare { op: Op::Ge, ..*compare }, no, yes),
            Op::Le => self.compare(&Compare { op: Op::Gt, ..*compare }, no, yes),
            Op::Gt | Op::Ge => {
                debug_assert!(mask_high == u32::MAX && mask_low == u32::MAX);
                let code = if compare.op == Op::Gt { JUMP_GREATER } else { JUMP_GREATER_EQUAL };
                let test = self.branch(code, value_low, yes, no);
                let low_part = self.before(LOAD, low, test);
                let same = self.branch(JUMP_EQUAL, value_high, low_part, no);
                let greater = self.branch(JUMP_GREATER, value_high, yes, same);
                self.before(LOAD, high, greater)
            }
        }
    }

    fn equal(&mut self, compare: &Compare, yes: Target, no: Target) -> Target {
        let low = ARGUMENTS + 8 * u32::from(compare.arg);
        let mut next = yes;
        for (offset, shift) in [(low, 0), (low + 4, 32)] {
            let mask = (compare.mask >> shift) as u32;
            let value = (compare.value >> shift) as u32 & mask;
            next = self.branch(JUMP_EQUAL, value, next, no);
            if mask != u32::MAX {
                next = self.before(AND, mask, next);
            }
            next = self.before(LOAD, offset, next);
        }
        next
    }

    fn decision(&mut self, decision: &Decision) -> Target {
        match decision {
            Decision::Do(action) => Target::Return(action.code()),
            Decision::Check(alternatives, rest) => {
                let mut next = Target::Return(rest.code());
                for (compares, action) in alternatives.iter().rev() {
                    let mut hit = Target::Return(action.code());
                    for compare in compares.iter().rev() {
                        hit = self.compare(compare, hit, next);
                    }
                    next = hit;
                }
                next
            }
        }
    }

    /// Looks up the range of the call number, which is in the accumulator.
    fn tree(&mut self, ranges: &[(u32, Decision)], bias: u32) -> Target {
        match ranges {
            [] => Target::Return(Action::KillProcess.code()),
            [(_, only)] => self.decision(only),
            _ => {
                let (left, right) = ranges.split_at(ranges.len() / 2);
                let first = right[0].0 | bias;
                let right = self.tree(right, bias);
                let left = self.tree(left, bias);
                self.branch(JUMP_GREATER_EQUAL, first, right, left)
            }
        }
    }
}

/// The whole program. A call of an architecture that has no filter kills the process.
pub(super) fn program(filters: &[(ArchitectureName, Filter)]) -> Result<Vec<Instruction>, String> {
    let mut assembler = Assembler::default();
    let kill = Target::Return(Action::KillProcess.code());
    let mut next = kill;
    let find = |name| filters.iter().find(|(known, _)| *known == name).map(|(_, filter)| filter);
    for (name, filter) in filters.iter().rev() {
        let (audit, found) = match name {
            // Told apart by the number below.
            ArchitectureName::X32 => continue,
            ArchitectureName::X86_64 => {
                let x32 = match find(ArchitectureName::X32) {
                    Some(filter) => assembler.tree(&filter.ranges, X32_BIT),
                    None => kill,
                };
                let x86_64 = assembler.tree(&filter.ranges, 0);
                (0xc000_003e, assembler.branch(JUMP_GREATER_EQUAL, X32_BIT, x32, x86_64))
            }
            ArchitectureName::X86 => (0x4000_0003, assembler.tree(&filter.ranges, 0)),
            ArchitectureName::Aarch64 => (0xc000_00b7, assembler.tree(&filter.ranges, 0)),
            ArchitectureName::Arm => (0x4000_0028, assembler.tree(&filter.ranges, 0)),
        };
        let load = assembler.before(LOAD, NUMBER, found);
        next = assembler.branch(JUMP_EQUAL, audit, load, next);
    }
    assembler.before(LOAD, ARCHITECTURE, next);
    let mut program = assembler.reversed;
    program.reverse();
    // The kernel's limit (`BPF_MAXINSNS`).
    if program.len() > 4096 { Err("the profile has too many conditions".into()) } else { Ok(program) }
}
