//! Assembled code does what was written, however far its jumps go: random programs are run both as they were
//! written and as they were assembled, and have to leave the same trace.

use std::collections::HashMap;

use knobgate_bpf::{
    AluOp, AsmError, Assembler, Callee, Code, Cond, Insn, MapReference, Operand, Operation, Reg, Width,
};
use proptest::prelude::*;

/// Something written into an assembler. Everything but filler is preceded by one step. Jumps name the item
/// that they go to.
#[derive(Debug, Clone)]
enum Item {
    /// This many steps.
    Fill(usize),
    Jump(usize),
    JumpIf(Width, Cond, i32, usize),
    MayGoto(usize),
    LoadMap,
    Call(usize),
}

impl Item {
    /// How many steps it takes.
    fn steps(&self) -> usize {
        if let Self::Fill(count) = self { *count } else { 1 }
    }
}

type Written = Vec<Vec<Item>>;

/// A step changes the state by a number, so that the trace shows which steps were taken, and in which order.
fn step(state: u64, number: i32) -> u64 {
    state.wrapping_mul(0x5851_f42d).wrapping_add(number as i64 as u64)
}

const STATE: Reg = Reg::R6;
const FUEL: usize = 20_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    OutOfFuel,
    Returned,
}

fn holds(width: Width, cond: Cond, left: u64, right: i32) -> bool {
    let (left, right) = match width {
        Width::W64 => (left as i64, i64::from(right)),
        Width::W32 => (i64::from(left as i32), i64::from(right)),
    };
    // Extending both to 64 bits by their sign keeps the order of unsigned 32-bit numbers, too.
    let (unsigned_left, unsigned_right) = (left as u64, right as u64);
    match cond {
        Cond::Eq => left == right,
        Cond::Ne => left != right,
        Cond::Gt => unsigned_left > unsigned_right,
        Cond::Ge => unsigned_left >= unsigned_right,
        Cond::Lt => unsigned_left < unsigned_right,
        Cond::Le => unsigned_left <= unsigned_right,
        Cond::SGt => left > right,
        Cond::SGe => left >= right,
        Cond::SLt => left < right,
        Cond::SLe => left <= right,
        Cond::Set => left & right != 0,
    }
}

/// `may_goto` jumps by the kernel's whim; here by the state.
fn may_goto_jumps(state: u64) -> bool {
    state & 4 != 0
}

/// Runs a function as it was written. Steps are numbered through the whole program.
fn run_written(items: &[Item], first_step: usize) -> (u64, End) {
    let mut numbers = Vec::new();
    let mut number = first_step;
    for item in items {
        numbers.push(number);
        number += item.steps();
    }
    let (mut state, mut fuel, mut at) = (1, FUEL, 0);
    while at < items.len() {
        for number in (numbers[at]..).take(items[at].steps()) {
            if fuel == 0 {
                return (state, End::OutOfFuel);
            }
            fuel -= 1;
            state = step(state, number as i32);
        }
        let jumps_to = match items[at] {
            Item::Jump(to) => Some(to),
            Item::JumpIf(width, cond, right, to) => holds(width, cond, state, right).then_some(to),
            Item::MayGoto(to) => may_goto_jumps(state).then_some(to),
            Item::Call(function) => {
                state = step(state, !(function as i32));
                None
            }
            Item::Fill(_) | Item::LoadMap => None,
        };
        at = jumps_to.unwrap_or(at + 1);
    }
    (state, End::Returned)
}

fn emit_step(asm: &mut Assembler, number: &mut usize) {
    asm.alu(AluOp::Mul, STATE, 0x5851_f42d);
    asm.alu(AluOp::Add, STATE, *number as i32);
    *number += 1;
}

fn assemble(written: &Written, long_jump: bool) -> Result<Code, AsmError> {
    let mut asm = Assembler::new();
    let functions: Vec<_> = written.iter().map(|_| asm.new_label()).collect();
    let mut number = 0;
    for (index, items) in written.iter().enumerate() {
        asm.begin_function(&format!("f{index}"));
        asm.bind(functions[index]);
        let labels: Vec<_> = items.iter().map(|_| asm.new_label()).collect();
        let end = asm.new_label();
        let label_of = |item: usize| labels.get(item).copied().unwrap_or(end);
        for (at, item) in items.iter().enumerate() {
            asm.bind(labels[at]);
            asm.set_line(number as u32 + 1, 1, "step");
            (0..item.steps()).for_each(|_| emit_step(&mut asm, &mut number));
            match *item {
                Item::Fill(_) => (),
                Item::Jump(to) => asm.jump(label_of(to)),
                Item::JumpIf(Width::W64, cond, right, to) => asm.jump_if(cond, STATE, right, label_of(to)),
                Item::JumpIf(Width::W32, cond, right, to) => asm.jump32_if(cond, STATE, right, label_of(to)),
                Item::MayGoto(to) => asm.may_goto(label_of(to)),
                Item::LoadMap => asm.load_map_value(Reg::R1, number, 8),
                Item::Call(function) => asm.call(functions[function]),
            }
        }
        asm.bind(end);
        asm.exit();
    }
    asm.finish(long_jump)
}

/// Goes on from an instruction of assembled code past the next step, and returns the number of that step;
/// nothing if the function returns before.
fn next_step(code: &Code, at: &mut usize, state: &mut u64) -> Option<i32> {
    loop {
        let operation = Operation::at(&code.insns, *at).expect("an instruction");
        *at += operation.slots();
        let by = match operation {
            Operation::Alu {
                width: Width::W64,
                op: AluOp::Add,
                dst: STATE,
                operand: Operand::Imm(number),
            } => {
                return Some(number);
            }
            Operation::Alu { width: Width::W64, op: AluOp::Mul, dst: STATE, .. } => 0,
            Operation::Jump { off, .. } => off,
            Operation::JumpIf { width, cond, dst: STATE, operand: Operand::Imm(imm), off } => {
                if holds(width, cond, *state, imm) { i32::from(off) } else { 0 }
            }
            Operation::MayGoto { off } => {
                if may_goto_jumps(*state) {
                    i32::from(off)
                } else {
                    0
                }
            }
            Operation::LoadImm64 { .. } => 0,
            Operation::Call { callee: Callee::Function(off) } => {
                let start = at.checked_add_signed(off as isize);
                let callee = code.functions.iter().position(|function| Some(function.start) == start);
                *state = step(*state, !(callee.expect("a function starts there") as i32));
                0
            }
            Operation::Exit => return None,
            other => panic!("{other:?} was never written"),
        };
        *at = at.checked_add_signed(by as isize).expect("a place in the program");
    }
}

/// Runs a function of assembled code.
fn run_assembled(code: &Code, function: usize) -> (u64, End) {
    let (mut state, mut fuel, mut at) = (1, FUEL, code.functions[function].start);
    while let Some(number) = next_step(code, &mut at, &mut state) {
        if fuel == 0 {
            return (state, End::OutOfFuel);
        }
        fuel -= 1;
        state = step(state, number);
    }
    (state, End::Returned)
}

/// Every branch has to lead to the same step as it was written to, both when it jumps and when it does not.
fn check_branches(code: &Code, items: &[Item], first_step: usize) {
    let mut behind_step = HashMap::new();
    for (index, insn) in code.insns.iter().enumerate() {
        if *insn == Insn::alu(Width::W64, AluOp::Add, STATE, insn.imm) {
            behind_step.insert(insn.imm as usize, index + 1);
        }
    }
    let mut numbers = vec![first_step];
    numbers.extend(items.iter().scan(first_step, |number, item| {
        *number += item.steps();
        Some(*number)
    }));
    let first_step_of = |item: usize| (item < items.len()).then(|| numbers[item] as i32);
    for (index, item) in items.iter().enumerate() {
        let (to, jumps): (_, &dyn Fn(u64) -> bool) = match *item {
            Item::Jump(to) => (to, &|_| true),
            Item::JumpIf(width, cond, right, to) => (to, &move |state| holds(width, cond, state, right)),
            Item::MayGoto(to) => (to, &may_goto_jumps),
            Item::Fill(_) | Item::LoadMap | Item::Call(_) => continue,
        };
        let right = if let Item::JumpIf(_, _, right, _) = *item { i64::from(right) } else { 4 };
        let states = [right - 1, right, right + 1, !right].map(|state| state as u64);
        for state in states {
            let expected = first_step_of(if jumps(state) { to } else { index + 1 });
            let next = next_step(code, &mut behind_step[&numbers[index]].clone(), &mut state.clone());
            assert_eq!(next, expected, "from {item:?}");
        }
    }
}

/// Everything that points into the code has to point where it did when it was written.
fn check_tables(code: &Code) {
    assert!(code.relocations.is_sorted_by_key(|relocation| relocation.insn));
    assert!(code.lines.is_sorted_by(|a, b| a.insn < b.insn));
    assert_eq!(code.functions[0].start, 0);
    // An island may be between the two instructions of a step.
    let step_number = |mut insns: std::ops::Range<usize>, backwards: bool| {
        let is_step = |insn: &usize| match Operation::at(&code.insns, *insn) {
            Ok(Operation::Alu { op: AluOp::Add, operand: Operand::Imm(number), .. }) => Some(number as usize),
            _ => None,
        };
        if backwards {
            insns.rev().find_map(|insn| is_step(&insn))
        } else {
            insns.find_map(|insn| is_step(&insn))
        }
    };
    for relocation in &code.relocations {
        assert!(matches!(Operation::at(&code.insns, relocation.insn), Ok(Operation::LoadImm64 { .. })));
        assert_eq!(relocation.target, MapReference::Value(8));
        assert_eq!(step_number(0..relocation.insn, true), Some(relocation.map - 1));
    }
    for line in &code.lines {
        assert_eq!(step_number(line.insn..code.insns.len(), false), Some(line.line as usize - 1));
    }
}

fn check(written: &Written) -> Result<(), TestCaseError> {
    let long = assemble(written, true).expect("long jumps go anywhere");
    let islands = assemble(written, false).expect("there are few jumps");
    let is_long = |insn: &Insn| insn.opcode == Insn::jump_long(0).opcode;
    prop_assert!(!islands.insns.iter().any(is_long));
    let mut first_step = 0;
    for (index, items) in written.iter().enumerate() {
        let expected = run_written(items, first_step);
        prop_assert_eq!(run_assembled(&long, index), expected);
        prop_assert_eq!(run_assembled(&islands, index), expected);
        check_branches(&long, items, first_step);
        check_branches(&islands, items, first_step);
        first_step += items.iter().map(Item::steps).sum::<usize>();
    }
    check_tables(&long);
    check_tables(&islands);
    Ok(())
}

fn item(functions: usize, items: usize, fill: usize) -> impl Strategy<Value = Item> {
    let width = prop_oneof![Just(Width::W32), Just(Width::W64)];
    let right = prop_oneof![any::<i32>(), -2..3_i32];
    prop_oneof![
        3 => (1..fill).prop_map(Item::Fill),
        1 => (0..=items).prop_map(Item::Jump),
        3 => (width, proptest::sample::select(&Cond::ALL[..]), right, 0..=items)
            .prop_map(|(width, cond, right, to)| Item::JumpIf(width, cond, right, to)),
        1 => (0..=items).prop_map(Item::MayGoto),
        1 => Just(Item::LoadMap),
        1 => (0..functions).prop_map(Item::Call),
    ]
}

fn program(fill: usize) -> impl Strategy<Value = Written> {
    (1..4_usize, 1..24_usize).prop_flat_map(move |(functions, items)| {
        let function = prop::collection::vec(item(functions, items, fill), items);
        prop::collection::vec(function, functions)
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    #[test]
    fn near_jumps_keep_the_meaning(written in program(50)) {
        check(&written)?;
    }

    #[test]
    fn far_jumps_keep_the_meaning(written in program(9_000)) {
        check(&written)?;
    }

    /// Around the end of the reach every instruction that is put in matters.
    #[test]
    fn jumps_at_the_edge_of_the_reach_keep_the_meaning(
        distance in 16_375..16_390_usize,
        jumps in prop::collection::vec((proptest::sample::select(&Cond::ALL[..]), any::<i32>()), 1..20),
        back in any::<bool>(),
    ) {
        let mut items: Vec<_> = jumps
            .iter()
            .map(|(cond, right)| Item::JumpIf(Width::W64, *cond, *right, jumps.len() + 1))
            .collect();
        items.push(Item::Fill(distance - jumps.len()));
        if back {
            items.extend(jumps.iter().map(|(cond, right)| Item::JumpIf(Width::W64, *cond, *right, 1)));
        }
        check(&vec![items])?;
    }
}

#[test]
fn hundreds_of_thousands_of_instructions_are_assembled() {
    let items = (0..50_000).map(|index| match index % 4 {
        0 => Item::JumpIf(Width::W64, Cond::Eq, index, 49_999 - index as usize % 30),
        1 => Item::JumpIf(Width::W32, Cond::Set, index, index as usize / 2),
        2 => Item::Fill(10),
        _ => Item::Jump(index as usize + 1 + index as usize % 9),
    });
    check(&vec![items.collect()]).unwrap();
}

/// Jumps from one end of a program to as many places at the other, past this much filler.
fn crossing_jumps(count: usize, fill: usize, back: bool) -> Written {
    let jump = |index: usize, to| Item::JumpIf(Width::W64, Cond::Eq, index as i32, to);
    let places = (0..count).map(|_| Item::Fill(1));
    vec![if back {
        let jumps = (0..count).map(|index| jump(index, index));
        places.chain([Item::Fill(fill)]).chain(jumps).collect()
    } else {
        let jumps = (0..count).map(|index| jump(index, count + 1 + index));
        jumps.chain([Item::Fill(fill)]).chain(places).collect()
    }]
}

#[test]
fn thousands_of_jumps_cross_the_same_place() {
    for count in [10, 1_000, 5_000, 10_000] {
        check(&crossing_jumps(count, 50_000, false)).unwrap();
        check(&crossing_jumps(count, 50_000, true)).unwrap();
    }
}

/// Long islands: some of their jumps reach their targets past the next island.
#[test]
fn from_an_island_each_jump_gets_as_far_as_it_can() {
    for count in [1_000, 1_300] {
        for over in [0, 500, 1_000, 1_500, 2_000] {
            for back in [false, true] {
                check(&crossing_jumps(count, (60_000 + over - 3 * count) / 2, back)).unwrap();
            }
        }
    }
}

#[test]
fn an_island_does_not_come_between_the_halves_of_a_load() {
    for shift in 0..4 {
        let items = [Item::Jump(20_001 + shift)].into_iter().chain((0..shift).map(|_| Item::Call(0)));
        check(&vec![items.chain((0..20_000).map(|_| Item::LoadMap)).collect()]).unwrap();
    }
}

#[test]
fn more_jumps_than_islands_can_carry_are_an_error_unless_long_jumps_are_allowed() {
    let written = crossing_jumps(20_000, 50_000, false);
    assert_eq!(assemble(&written, false), Err(AsmError::TooManyFarJumps { function: "f0".into() }));
    assert!(assemble(&written, true).is_ok());
}

#[test]
fn no_jump_over_an_island_that_nothing_falls_into() {
    let mut asm = Assembler::new();
    let end = asm.new_label();
    asm.jump_if(Cond::Eq, Reg::R1, 0, end);
    for _ in 0..20_000 {
        asm.mov(Reg::R0, 1);
        asm.exit();
    }
    asm.bind(end);
    asm.exit();
    let written = asm.position();
    let code = asm.finish(false).unwrap();
    assert_eq!(code.insns.len(), written + 1, "one jump of one island is all that is needed");
}
