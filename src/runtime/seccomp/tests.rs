use std::path::PathBuf;

use super::default;
use super::numbers::NUMBERS;
use super::profile::{ArchitectureName, Machine, Profile};
use crate::runtime::capability::Capabilities;
use crate::sys::seccomp::Instruction;

const ALLOW: u32 = 0x7fff_0000;
const EPERM: u32 = 0x0005_0001;
const ENOSYS: u32 = 0x0005_0026;
const KILL: u32 = 0x8000_0000;

const X86_64: u32 = 0xc000_003e;
const X86: u32 = 0x4000_0003;
const AARCH64: u32 = 0xc000_00b7;
const ARM: u32 = 0x4000_0028;

const DOCKER_DEFAULT: Capabilities = Capabilities(0xa804_25fb);
const ALL: Capabilities = Capabilities((1 << 41) - 1);

/// What the kernel would do.
fn run(program: &[Instruction], arch: u32, number: u32, args: &[u64]) -> u32 {
    let mut data = [0u32; 16];
    data[0] = number;
    data[1] = arch;
    for (index, arg) in args.iter().enumerate() {
        data[4 + 2 * index] = *arg as u32;
        data[5 + 2 * index] = (arg >> 32) as u32;
    }
    let mut accumulator = 0;
    let mut at = 0;
    loop {
        let i = program[at];
        at += 1;
        let jump = |yes: bool| usize::from(if yes { i.jt } else { i.jf });
        match i.code {
            0x20 => accumulator = data[i.k as usize / 4],
            0x54 => accumulator &= i.k,
            0x05 => at += i.k as usize,
            0x15 => at += jump(accumulator == i.k),
            0x25 => at += jump(accumulator > i.k),
            0x35 => at += jump(accumulator >= i.k),
            0x06 => return i.k,
            other => panic!("unknown instruction {other:#x}"),
        }
    }
}

fn machine(native: ArchitectureName, capabilities: Capabilities) -> Machine {
    Machine { native, kernel: (6, 1), capabilities }
}

fn intel(capabilities: Capabilities) -> Vec<Instruction> {
    default::profile().compile(&machine(ArchitectureName::X86_64, capabilities)).unwrap()
}

fn oracle() -> Option<Profile> {
    let folder = std::env::var_os("WINDLASS_ORACLES")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/data"), PathBuf::from);
    let path = folder.join("moby-seccomp-default.json");
    match std::fs::read_to_string(&path) {
        Ok(text) => Some(Profile::parse(&text).unwrap()),
        Err(error) => {
            use std::io::Write;
            // Not `eprintln!`, which is swallowed when the test passes.
            let _ = writeln!(
                std::io::stderr(),
                "\n*** NOT TESTED: the default filter was not compared with Docker's: {}: {error} ***\n\
                 *** set WINDLASS_ORACLES to the folder that holds moby-seccomp-default.json ***\n",
                path.display()
            );
            None
        }
    }
}

#[test]
fn the_number_table_is_sorted() {
    assert!(NUMBERS.windows(2).all(|pair| pair[0].0 < pair[1].0));
    assert_eq!(ArchitectureName::X86_64.number("openat2"), Some(437));
    assert_eq!(ArchitectureName::X86.number("socketcall"), Some(102));
    assert_eq!(ArchitectureName::X32.number("execve"), Some(520));
    assert_eq!(ArchitectureName::Aarch64.number("clone3"), Some(435));
    assert_eq!(ArchitectureName::Arm.number("set_tls"), Some(983_045));
    assert_eq!(ArchitectureName::Aarch64.number("open"), None);
}

#[test]
fn what_is_known_of_docker_s_filter() {
    let program = intel(DOCKER_DEFAULT);
    let call = |name: &str, args: &[u64]| run(&program, X86_64, ArchitectureName::X86_64.number(name).unwrap(), args);
    assert_eq!(call("read", &[]), ALLOW);
    for name in ["mount", "unshare", "setns", "bpf", "keyctl", "add_key", "io_uring_setup", "userfaultfd", "kexec_load"]
    {
        assert_eq!(call(name, &[]), EPERM, "{name}");
    }
    assert_eq!(call("clone3", &[]), ENOSYS);
    // A thread, and a user namespace.
    assert_eq!(call("clone", &[0x003d_0f00]), ALLOW);
    assert_eq!(call("clone", &[0x1000_0011]), EPERM);
    assert_eq!(call("chroot", &[]), ALLOW);
    for (family, expected) in [(1, ALLOW), (2, ALLOW), (16, ALLOW), (37, ALLOW), (38, EPERM), (39, ALLOW), (40, EPERM)]
    {
        assert_eq!(call("socket", &[family]), expected, "family {family}");
    }
    assert_eq!(call("socket", &[1 << 32]), ALLOW);
    for (persona, expected) in
        [(0, ALLOW), (8, ALLOW), (0x20000, ALLOW), (0x20008, ALLOW), (0xffff_ffff, ALLOW), (1, EPERM)]
    {
        assert_eq!(call("personality", &[persona]), expected);
    }
    assert_eq!(run(&program, X86_64, 1000, &[]), ENOSYS);
    assert_eq!(run(&program, X86_64, 335 + 10, &[]), EPERM);
    assert_eq!(run(&program, X86, 102, &[]), ALLOW);
    assert_eq!(run(&program, X86_64, 0x4000_0000, &[]), ALLOW);
    assert_eq!(run(&program, X86_64, 0x4000_0000 + 520, &[]), ALLOW);
    assert_eq!(run(&program, X86_64, 0x4000_0000 + 59, &[]), EPERM);
    for arch in [AARCH64, ARM, 0] {
        assert_eq!(run(&program, arch, 0, &[]), KILL);
    }
}

#[test]
fn it_is_small_enough_to_be_quick() {
    let length = intel(DOCKER_DEFAULT).len();
    assert!(length < 420, "{length} instructions");
}

/// Every number of every architecture, with the arguments at which a rule changes its mind.
fn same(a: &[Instruction], b: &[Instruction], archs: &[u32]) {
    let arguments = [
        [0u64; 6],
        [1; 6],
        [8; 6],
        [37; 6],
        [38; 6],
        [39; 6],
        [40; 6],
        [41; 6],
        [0x20000; 6],
        [0x20008; 6],
        [0xffff_ffff; 6],
        [0x1_0000_0000; 6],
        [0x1000_0011; 6],
        [0x003d_0f00; 6],
        [u64::MAX; 6],
    ];
    for arch in archs {
        let numbers =
            (0..600).chain(0x4000_0000..0x4000_0000 + 600).chain(983_030..983_050).chain([u32::MAX, 0x3fff_ffff]);
        for number in numbers {
            for args in &arguments {
                let (x, y) = (run(a, *arch, number, args), run(b, *arch, number, args));
                assert_eq!(x, y, "arch {arch:#x}, number {number}, argument {:#x}", args[0]);
            }
        }
    }
}

#[test]
fn ours_does_what_docker_s_does() {
    let Some(oracle) = oracle() else { return };
    let sets = [
        DOCKER_DEFAULT,
        ALL,
        Capabilities(0),
        Capabilities(1 << 21),
        Capabilities(1 << 12 | 1 << 38),
        Capabilities(1 << 19),
    ];
    for capabilities in sets {
        for (native, archs) in
            [(ArchitectureName::X86_64, [X86_64, X86, AARCH64]), (ArchitectureName::Aarch64, [AARCH64, ARM, X86_64])]
        {
            let machine = machine(native, capabilities);
            same(&default::profile().compile(&machine).unwrap(), &oracle.compile(&machine).unwrap(), &archs);
        }
    }
}

/// A second opinion on the compiler: the rules read one by one, without trees or ranges.
#[test]
fn the_tree_says_what_the_rules_say() {
    let text = r#"{
        "defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 1,
        "architectures": ["SCMP_ARCH_X86_64"],
        "syscalls": [
            {"names": ["read", "write", "close", "exit_group"], "action": "SCMP_ACT_ALLOW"},
            {"names": ["openat2"], "action": "SCMP_ACT_TRAP"},
            {"names": ["ioctl"], "action": "SCMP_ACT_ALLOW", "args": [
                {"index": 1, "value": 4294967300, "op": "SCMP_CMP_GE"}, {"index": 1, "value": 4294967310, "op": "SCMP_CMP_LT"}]},
            {"names": ["ioctl"], "action": "SCMP_ACT_ERRNO", "errnoRet": 25, "args": [{"index": 2, "value": 7, "op": "SCMP_CMP_NE"}]},
            {"names": ["fcntl"], "action": "SCMP_ACT_ALLOW", "args": [{"index": 0, "value": 5, "op": "SCMP_CMP_LE"}]},
            {"names": ["fcntl"], "action": "SCMP_ACT_ALLOW", "args": [
                {"index": 1, "value": 240, "valueTwo": 16, "op": "SCMP_CMP_MASKED_EQ"}]},
            {"name": "dup", "action": "SCMP_ACT_KILL_PROCESS"}
        ]}"#;
    let profile = Profile::parse(text).unwrap();
    let program = profile.compile(&machine(ArchitectureName::X86_64, DOCKER_DEFAULT)).unwrap();
    let call = |number: u32, args: &[u64]| run(&program, X86_64, number, args);
    for number in [0, 1, 3, 231] {
        assert_eq!(call(number, &[]), ALLOW);
    }
    assert_eq!(call(2, &[]), EPERM);
    assert_eq!(call(437, &[]), 0x0003_0000);
    assert_eq!(call(438, &[]), ENOSYS);
    assert_eq!(call(32, &[]), KILL);
    for (value, expected) in
        [(4_294_967_299, EPERM), (4_294_967_300, ALLOW), (4_294_967_309, ALLOW), (4_294_967_310, EPERM)]
    {
        assert_eq!(call(16, &[0, value, 7]), expected, "{value}");
    }
    assert_eq!(call(16, &[0, 0, 8]), 0x0005_0019);
    assert_eq!(call(72, &[5, 0]), ALLOW);
    assert_eq!(call(72, &[6, 0]), EPERM);
    assert_eq!(call(72, &[1 << 40, 0]), EPERM);
    assert_eq!(call(72, &[6, 0x1f]), ALLOW);
    assert_eq!(call(72, &[6, 0x2f]), EPERM);
    // An x32 call where x32 is not listed, and a foreign architecture.
    assert_eq!(call(0x4000_0000, &[]), KILL);
    assert_eq!(run(&program, X86, 3, &[]), KILL);
}

#[test]
fn damaged_profiles_are_refused() {
    let refuse = |text: &str, words: &str| {
        let error = Profile::parse(text).unwrap_err();
        assert!(error.contains(words), "{error}");
    };
    refuse("{", "EOF");
    refuse(r#"{"defaultAction": "SCMP_ACT_MAYBE"}"#, "is no action");
    refuse(
        r#"{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"name": "a", "names": ["b"], "action": "SCMP_ACT_ALLOW"}]}"#,
        "exclude each other",
    );
    refuse(
        r#"{"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86"], "archMap": [{"architecture": "SCMP_ARCH_X86"}]}"#,
        "exclude each other",
    );
    refuse(r#"{"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["PDP11"]}"#, "is no architecture");
    refuse(r#"{"defaultAction": "SCMP_ACT_NOTIFY"}"#, "listener");
}
