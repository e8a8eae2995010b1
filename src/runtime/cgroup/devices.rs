//! Device rules as a BPF program of the unified hierarchy.

use crate::runtime::devices::{Rule, RuleKind};
use crate::sys::devices_bpf::Instruction;

const BLOCK: i32 = 1;
const CHARACTER: i32 = 2;
const MKNOD: i32 = 1;
const READ: i32 = 2;
const WRITE: i32 = 4;

/// A program that allows what a rule allows and denies the rest. Its context is
/// `{ u32 access << 16 | type, u32 major, u32 minor }` in r1.
pub(super) fn program(rules: &[Rule]) -> Vec<Instruction> {
    let op = |code, registers, offset, immediate| Instruction { code, registers, offset, immediate };
    let load = |to: u8, from: i16| op(0x61, 0x10 | to, from, 0);
    let (and, shift_right, move_register) = (0x54, 0x74, 0xbc);
    let (jump_if_not, jump_if_not_register) = (0x55, 0x5d);
    let finish = |allowed| [op(0xb7, 0, 0, allowed), op(0x95, 0, 0, 0)];

    // r2 = type, r3 = access, r4 = major, r5 = minor
    let mut program = vec![
        load(2, 0),
        op(move_register, 0x23, 0, 0),
        op(and, 2, 0, 0xffff),
        op(shift_right, 3, 0, 16),
        load(4, 4),
        load(5, 8),
    ];
    for rule in rules {
        let mut block = Vec::new();
        match rule.kind {
            RuleKind::All => {}
            RuleKind::Block => block.push(op(jump_if_not, 2, 0, BLOCK)),
            RuleKind::Character => block.push(op(jump_if_not, 2, 0, CHARACTER)),
        }
        let access = [(rule.mknod, MKNOD), (rule.read, READ), (rule.write, WRITE)];
        let access = access.iter().filter(|(has, _)| *has).fold(0, |all, (_, bit)| all | bit);
        if access != MKNOD | READ | WRITE {
            block.push(op(move_register, 0x31, 0, 0));
            block.push(op(and, 1, 0, access));
            block.push(op(jump_if_not_register, 0x31, 0, 0));
        }
        for (register, number) in [(4, rule.major), (5, rule.minor)] {
            if let Some(number) = number {
                block.push(op(jump_if_not, register, 0, number.cast_signed()));
            }
        }
        block.extend(finish(1));
        let length = block.len();
        for (index, instruction) in block.iter_mut().enumerate() {
            if matches!(instruction.code, 0x55 | 0x5d) {
                // To the next rule.
                instruction.offset = i16::try_from(length - index - 1).unwrap_or(i16::MAX);
            }
        }
        program.extend(block);
    }
    program.extend(finish(0));
    program
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Enough of an interpreter for what we emit.
    fn run(program: &[Instruction], kind: i32, access: i32, major: i32, minor: i32) -> i32 {
        let context = [access << 16 | kind, major, minor];
        let mut registers = [0i64; 11];
        let mut at = 0;
        loop {
            let i = program[at];
            let (to, from) = ((i.registers & 15) as usize, (i.registers >> 4) as usize);
            at += 1;
            let jump = |taken: bool| if taken { i.offset as usize } else { 0 };
            match i.code {
                0x61 => registers[to] = i64::from(context[i.offset as usize / 4]),
                0xbc => registers[to] = registers[from],
                0x54 => registers[to] &= i64::from(i.immediate),
                0x74 => registers[to] >>= i.immediate,
                0x55 => at += jump(registers[to] != i64::from(i.immediate)),
                0x5d => at += jump(registers[to] != registers[from]),
                0xb7 => registers[to] = i64::from(i.immediate),
                0x95 => return registers[0] as i32,
                other => panic!("unknown instruction {other:#x}"),
            }
        }
    }

    #[test]
    fn allows_what_the_rules_say() {
        let rules: Vec<_> = ["c *:* m", "c 1:3 rwm", "b 8:* r"].iter().map(|t| Rule::parse(t).unwrap()).collect();
        let program = program(&rules);
        let check = |kind, access, major, minor| run(&program, kind, access, major, minor);
        assert_eq!(check(CHARACTER, MKNOD, 99, 1), 1);
        assert_eq!(check(CHARACTER, READ | WRITE, 1, 3), 1);
        assert_eq!(check(CHARACTER, READ, 1, 5), 0);
        assert_eq!(check(BLOCK, READ, 8, 17), 1);
        assert_eq!(check(BLOCK, READ | WRITE, 8, 17), 0);
        assert_eq!(check(BLOCK, MKNOD, 8, 17), 0);
    }
}
