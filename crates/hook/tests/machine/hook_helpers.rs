//! The hook's own helpers, byte for byte: kernel/bpf/cgroup.c, lib/string.c, lib/kstrtox.c.

use knobgate_bpf::{AluOp, Assembler, Reg, Size, helper_ids};
use knobgate_hook::{Invocation, LoadOptions, LoadedProgram, Profile, RunOptions, Task};

use super::{allow, frozen, keep, load, number, on_write, program, results};

/// The offset of the buffer in the results, after what the helper returned.
const BUFFER: usize = 8;

/// Calls a helper with `(ctx, buffer of size bytes, size, flags)`; what it returned and the buffer, which held `#`.
fn called(helper: u32, size: usize, flags: i32, invocation: &mut Invocation<'_>) -> (i64, Vec<u8>) {
    let mut asm = Assembler::new();
    asm.load_map_value(Reg::R2, 0, BUFFER as u32);
    asm.mov(Reg::R3, size as i32);
    asm.mov(Reg::R4, flags);
    asm.call_helper(helper);
    keep(&mut asm, Reg::R0, 0);
    allow(&mut asm);
    let program = load(asm, vec![results((BUFFER + size) as u32)]).expect("loads");
    let results = &program.maps()[0];
    results.update(&[0; 4], &vec![b'#'; BUFFER + size], 0).expect("the one value");
    program.run(invocation, &mut RunOptions::default()).expect("runs");
    (number(results, 0) as i64, results.lookup(&[0; 4]).expect("the one value")[BUFFER..].to_vec())
}

#[test]
fn names_are_truncated_and_padded_like_strscpy() {
    let (task, profile) = (Task::default(), Profile::LINUX_6_18);
    for (size, flags, returned, buffer) in [
        (20, 0, 16, &b"net/ipv4/tcp_mem\0###"[..]),
        (24, 0, 16, b"net/ipv4/tcp_mem\0#######"),
        (17, 0, 16, b"net/ipv4/tcp_mem\0"),
        (16, 0, -7, b"net/ipv4/tcp_me\0"),
        (4, 0, -7, b"net\0"),
        (1, 0, -7, b"\0"),
        (20, 1, 7, b"tcp_mem\0############"),
        (8, 3, 7, b"tcp_mem\0"),
        (7, 1, -7, b"tcp_me\0"),
    ] {
        let mut invocation = Invocation::read("net/ipv4/tcp_mem", b"", &task, &profile);
        let (got, bytes) = called(helper_ids::SYSCTL_GET_NAME, size, flags, &mut invocation);
        assert_eq!((got, &bytes[..]), (returned, buffer), "size {size} flags {flags}");
    }
    // The word with the NUL is zero-filled.
    let mut invocation = Invocation::read("kernel/x", b"", &task, &profile);
    let (_, bytes) = called(helper_ids::SYSCTL_GET_NAME, 24, 0, &mut invocation);
    assert_eq!(bytes, b"kernel/x\0\0\0\0\0\0\0#########", "x at 7 takes bytes 7 to 14");
}

#[test]
fn a_slash_is_padded_with_zeros_on_kernels_without_fortify() {
    let task = Task::default();
    for (profile, buffer) in [("6.18", b"kernel/sem\0###"), ("5.10", b"kernel/sem\0\0\0\0")] {
        let profile: Profile = profile.parse().expect("a profile");
        let mut invocation = Invocation::read("kernel/sem", b"", &task, &profile);
        let (returned, bytes) = called(helper_ids::SYSCTL_GET_NAME, 14, 0, &mut invocation);
        assert_eq!((returned, &bytes[..]), (10, &buffer[..]), "{profile}");
    }
}

#[test]
fn values_are_copied_padded_and_truncated() {
    let (task, profile) = (Task::default(), Profile::LINUX_6_18);
    for (helper, current, new, size, returned, buffer) in [
        (helper_ids::SYSCTL_GET_CURRENT_VALUE, &b"600\n"[..], &b"606"[..], 6, 4, &b"600\n\0\0"[..]),
        (helper_ids::SYSCTL_GET_CURRENT_VALUE, b"600\n", b"606", 5, 4, b"600\n\0"),
        (helper_ids::SYSCTL_GET_CURRENT_VALUE, b"600\n", b"606", 4, -7, b"600\0"),
        (helper_ids::SYSCTL_GET_CURRENT_VALUE, b"", b"606", 4, -22, b"\0\0\0\0"),
        (helper_ids::SYSCTL_GET_NEW_VALUE, b"600\n", b"606", 4, 3, b"606\0"),
        (helper_ids::SYSCTL_GET_NEW_VALUE, b"600\n", b"606", 3, -7, b"60\0"),
        (helper_ids::SYSCTL_GET_NEW_VALUE, b"600\n", b"", 3, -22, b"\0\0\0"),
    ] {
        let mut invocation = Invocation::write("kernel/x", current, new, &task, &profile);
        assert_eq!(called(helper, size, 0, &mut invocation), (returned, buffer.to_vec()), "{size}");
    }
    let mut read = Invocation::read("kernel/x", b"1", &task, &profile);
    assert_eq!(called(helper_ids::SYSCTL_GET_NEW_VALUE, 2, 0, &mut read), (-22, vec![0, 0]));
}

#[test]
fn new_values_are_replaced_only_in_writes() {
    let (task, profile) = (Task::default(), Profile::LINUX_6_18);
    let set = helper_ids::SYSCTL_SET_NEW_VALUE;
    let mut write = Invocation::write("kernel/x", b"", b"old", &task, &profile);
    assert_eq!(called(set, 5, 0, &mut write).0, 0);
    assert_eq!(write.replacement(), Some(&b"#####"[..]));
    assert_eq!(called(set, 4095, 0, &mut write).0, 0);
    assert_eq!(called(set, 4096, 0, &mut write).0, -7);
    assert_eq!(called(set, 1, 0, &mut Invocation::write("kernel/x", b"", b"", &task, &profile)).0, -22);
    assert_eq!(called(set, 4096, 0, &mut Invocation::read("kernel/x", b"", &task, &profile)).0, -22);
}

/// `bpf_strtol` or `bpf_strtoul` of `text`: what it returns and stores, where −1 was.
fn parsed(helper: u32, text: &[u8], flags: i32, profile: &Profile) -> (i64, i64) {
    let mut asm = Assembler::new();
    asm.load_map_value(Reg::R1, 1, 0);
    asm.mov(Reg::R2, text.len() as i32);
    asm.mov(Reg::R3, flags);
    asm.mov(Reg::R4, Reg::R10);
    asm.alu(AluOp::Add, Reg::R4, -8);
    asm.store_imm(Size::U64, Reg::R10, -8, -1);
    asm.call_helper(helper);
    asm.load(Size::U64, Reg::R6, Reg::R10, -8);
    keep(&mut asm, Reg::R0, 0);
    keep(&mut asm, Reg::R6, 8);
    allow(&mut asm);
    let program = program(asm, vec![results(16), frozen(text)]);
    let program = LoadedProgram::load(&program, profile, &LoadOptions::default()).expect("loads");
    let task = Task::default();
    let mut invocation = Invocation::read("kernel/x", b"", &task, profile);
    program.run(&mut invocation, &mut RunOptions::default()).expect("runs");
    (number(&program.maps()[0], 0) as i64, number(&program.maps()[0], 8) as i64)
}

#[test]
fn numbers_are_parsed_as_the_kernel_parses_them() {
    use helper_ids::{STRTOL, STRTOUL};
    let many = [b"0".repeat(69), b"1".to_vec()].concat();
    for (helper, text, flags, expected) in [
        (STRTOL, &b"123\n"[..], 0, (3, 123)),
        (STRTOL, b" \t\x0b\xa0-12", 0, (7, -12)),
        (STRTOL, b"+1", 0, (-22, 0)),
        (STRTOL, b"- 1", 0, (-22, 0)),
        (STRTOL, b"-", 0, (-22, 0)),
        (STRTOL, b"   ", 0, (-22, 0)),
        (STRTOL, b"0x1g", 0, (3, 1)),
        (STRTOL, b"0xg", 0, (1, 0)),
        (STRTOL, b"0xg", 16, (-22, 0)),
        (STRTOL, b"ff", 16, (2, 255)),
        (STRTOL, b"0X1f", 16, (4, 31)),
        (STRTOL, b"0129", 0, (3, 10)),
        (STRTOL, b"129", 8, (2, 10)),
        (STRTOL, b"9", 8, (-22, 0)),
        (STRTOL, b"1", 2, (-22, 0)),
        (STRTOL, b"1", 32, (-22, 0)),
        (STRTOL, b"1\x002", 0, (1, 1)),
        (STRTOL, b"9223372036854775807", 0, (19, i64::MAX)),
        (STRTOL, b"9223372036854775808", 0, (-34, 0)),
        (STRTOL, b"-9223372036854775808", 0, (20, i64::MIN)),
        (STRTOL, b"-9223372036854775809", 0, (-34, 0)),
        (STRTOUL, b"18446744073709551615", 0, (20, -1)),
        (STRTOUL, b"18446744073709551616", 0, (-34, 0)),
        (STRTOUL, b"-18446744073709551616", 0, (-34, 0)),
        (STRTOUL, b"-0", 0, (-22, 0)),
        (STRTOL, &many, 0, (63, 0)),
    ] {
        let text_shown = String::from_utf8_lossy(text);
        assert_eq!(parsed(helper, text, flags, &Profile::LINUX_6_18), expected, "{text_shown:?} {flags}");
    }
    let old = "5.15".parse().expect("a profile");
    assert_eq!(parsed(STRTOL, b"x", 0, &old), (-22, -1), "older kernels leave the result alone");
}

#[test]
fn the_context_is_read_in_parts_and_its_position_written() {
    let mut asm = Assembler::new();
    asm.mov(Reg::R6, Reg::R1);
    asm.load(Size::U8, Reg::R7, Reg::R6, 5);
    keep(&mut asm, Reg::R7, 0);
    asm.store_imm(Size::U32, Reg::R6, 4, 1);
    allow(&mut asm);
    let program = load(asm, vec![results(8)]).expect("loads");
    let (task, profile) = (Task::default(), Profile::LINUX_6_18);
    let mut invocation = Invocation::read("kernel/x", b"", &task, &profile);
    invocation.position = 0x5_0000_4200;
    program.run(&mut invocation, &mut RunOptions::default()).expect("runs");
    assert_eq!((number(&program.maps()[0], 0), invocation.position), (0x42, 0x5_0000_0001));
}

#[test]
fn tasks_and_return_values_are_shown() {
    for (helper, argument, expected) in [
        (helper_ids::GET_CURRENT_PID_TGID, 0, 7 << 32 | 8),
        (helper_ids::GET_CURRENT_UID_GID, 0, 10 << 32 | 9),
        (helper_ids::GET_CURRENT_CGROUP_ID, 0, 300),
        (helper_ids::GET_CURRENT_ANCESTOR_CGROUP_ID, 1, 20),
        (helper_ids::GET_CURRENT_ANCESTOR_CGROUP_ID, 3, 0),
        (helper_ids::GET_RETVAL, 0, 0),
        (helper_ids::SET_RETVAL, -13, 0),
    ] {
        let mut asm = Assembler::new();
        asm.mov(Reg::R1, argument);
        asm.call_helper(helper);
        keep(&mut asm, Reg::R0, 0);
        allow(&mut asm);
        let program = load(asm, vec![results(8)]).expect("loads");
        on_write(&program, b"", b"x").expect("runs");
        assert_eq!(number(&program.maps()[0], 0), expected);
    }
}
