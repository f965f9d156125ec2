//! Processes with ids and names of their own, which move.

use knobgate_bpf::{AluOp, Assembler, Reg, Size, helper_ids};
use knobgate_scenario::{Document, ProcessDocument};
use knobgate_testing::profile;

use crate::Case;
use crate::programs::{assembled, map, setting};

/// The map that `store_task` fills, among those of the setting.
const TASK: usize = 7;

/// Stores the ids and the name of the task.
fn store_task(asm: &mut Assembler) {
    asm.call_helper(helper_ids::GET_CURRENT_UID_GID);
    asm.store(Size::U64, Reg::R10, -24, Reg::R0);
    // Not every kernel writes after the end of the name.
    for offset in [-16, -8] {
        asm.store_imm(Size::U64, Reg::R10, offset, -1);
    }
    asm.mov(Reg::R1, Reg::R10);
    asm.alu(AluOp::Add, Reg::R1, -16);
    asm.mov(Reg::R2, 16);
    asm.call_helper(helper_ids::GET_CURRENT_COMM);
    asm.store_imm(Size::U32, Reg::R10, -28, 0);
    asm.load_map(Reg::R1, TASK);
    asm.mov(Reg::R2, Reg::R10);
    asm.alu(AluOp::Add, Reg::R2, -28);
    asm.mov(Reg::R3, Reg::R10);
    asm.alu(AluOp::Add, Reg::R3, -24);
    asm.mov(Reg::R4, 0);
    asm.call_helper(helper_ids::MAP_UPDATE_ELEM);
    asm.mov(Reg::R0, 1);
    asm.exit();
}

fn process(cgroup: &str, uid: u32, gid: u32, comm: &str) -> ProcessDocument {
    let (cgroup, comm) = (Some(cgroup.to_owned()), Some(comm.into()));
    ProcessDocument { cgroup, uid: Some(uid), gid: Some(gid), comm, pid: None }
}

pub(crate) fn cases() -> Vec<Case> {
    let mut document = setting();
    assert_eq!(document.maps.len(), TASK);
    document.maps.push(map("task", "array", 4, 24, 1));
    document.processes = [
        ("alice".to_owned(), process("a", 1000, 1001, "nginx")),
        ("root".to_owned(), process("a/b", 0, 0, "fifteen bytes .")),
        ("group".to_owned(), process("d", 1000, 0, "é")),
    ]
    .into();
    let mut programs = vec!["deny", "set 7"];
    if profile().has_helper(helper_ids::GET_CURRENT_COMM) {
        document.programs.insert("task".to_owned(), assembled(store_task));
        programs.push("task");
    }
    let steps = |program: &str| {
        let mut steps = format!(r#"{{"attach": {{"program": "{program}", "cgroup": "a", "mode": "link"}}}}"#);
        for (process, cgroup) in [("alice", "d"), ("root", "d"), ("group", "a/b/c"), ("alice", "a/b")] {
            for access in [
                r#""read": {"knob": "kernel/domainname", "#,
                r#""write": {"knob": "kernel/domainname", "data": "two", "#,
                r#""write": {"knob": "net/core/somaxconn", "data": "11", "#,
                r#""write": {"open": "f", "knob": "net/ipv4/icmp_ratelimit", "data": "12", "#,
            ] {
                steps += &format!(r#", {{{access} "process": "{process}"}}}}"#);
            }
            // Root opens it, and the others have no permission to write to what it has opened.
            steps +=
                r#", {"write": {"open": "g", "knob": "kernel/domainname", "cgroup": "/", "data": "three"}}"#;
            steps += &format!(r#", {{"write": {{"open": "g", "process": "{process}", "data": "four"}}}}"#);
            steps += &format!(r#", {{"move": {{"process": "{process}", "cgroup": "{cgroup}"}}}}"#);
            steps += &format!(r#", {{"read": {{"knob": "kernel/domainname", "process": "{process}"}}}}"#);
            steps += r#", {"map": "task"}"#;
        }
        steps
    };
    programs.into_iter().map(|program| (program, Document::clone(&document), steps(program))).collect()
}
