//! The current value that a rule saw can change before the write takes effect.
//!
//! The kernel reads the current value, runs the programs, and then calls the knob's handler. In the test, a program
//! above delays the first write with a loop until it gets a signal, so that another process can write in between.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Stdio};

use knobgate_bpf::{AsmError, Assembler, Cond, MapDef, Program, Reg, Size, helper_ids};
use knobgate_hook::Profile;
use knobgate_kernel::{AttachMode, AttachPosition, LoadOptions, Map, load, prog_attach, start_inside};
use knobgate_testing::{Reaped, Test, eventually};
use libtest_mimic::Failed;

use super::Stage;

/// Tests that need a loop in a program, and a processor for it.
pub(super) const TESTS: &[Test] =
    &[("a_race_passes_a_rule_on_the_current_value_but_not_one_on_the_new_value", racing)];

/// What they require.
pub(super) fn waiting(profile: &Profile) -> Option<String> {
    if !profile.features().bpf_loop {
        return Some(format!("{profile} has no loops that wait"));
    }
    let alone = std::thread::available_parallelism().is_ok_and(|processors| processors.get() < 2);
    alone.then(|| "nobody else runs on the only processor while a program waits".to_owned())
}

const KNOB: &str = "/proc/sys/net/ipv4/ip_default_ttl";

/// The map for the program's state: 0 before the first write, 1 while it waits, 2 after it has waited too long.
const STATE: &str = "state";
/// The map that the program polls until it is not 0.
const GO: &str = "go";

/// The value of both maps is a single number.
fn number(map: &Map) -> Result<u32, Failed> {
    let value = map.lookup(&[0; 4])?.ok_or("no value")?;
    Ok(u32::from_ne_bytes(value.try_into().map_err(|_| "not 4 bytes")?))
}

/// Delays the first write by at most some tenths of a second, and allows everything.
fn delaying() -> Result<Program, AsmError> {
    /// The maximum of `bpf_loop`, and how often to repeat it.
    const TURNS: i32 = 1 << 22;
    const ROUNDS: i32 = 4;
    const WAITED_TOO_LONG: i32 = 2;
    let mut asm = Assembler::new();
    let [passed, round, turn, goes_on, waits] = [(); 5].map(|()| asm.new_label());
    asm.begin_function("main");
    // The context's `write`.
    asm.load(Size::U32, Reg::R1, Reg::R1, 0);
    asm.jump_if(Cond::Eq, Reg::R1, 0, passed);
    asm.load_map_value(Reg::R6, 0, 0);
    asm.load(Size::U32, Reg::R1, Reg::R6, 0);
    asm.jump_if(Cond::Ne, Reg::R1, 0, passed);
    asm.store_imm(Size::U32, Reg::R6, 0, 1);
    repeat(&mut asm, ROUNDS, round);
    asm.load_map_value(Reg::R1, 1, 0);
    asm.load(Size::U32, Reg::R1, Reg::R1, 0);
    asm.jump_if(Cond::Ne, Reg::R1, 0, passed);
    asm.store_imm(Size::U32, Reg::R6, 0, WAITED_TOO_LONG);
    asm.bind(passed);
    asm.mov(Reg::R0, 1);
    asm.exit();
    asm.begin_function("round");
    asm.bind(round);
    repeat(&mut asm, TURNS, turn);
    // Ends early when the map is set.
    asm.mov(Reg::R1, Reg::R0);
    asm.mov(Reg::R0, 0);
    asm.jump_if(Cond::Eq, Reg::R1, TURNS, goes_on);
    asm.mov(Reg::R0, 1);
    asm.bind(goes_on);
    asm.exit();
    asm.begin_function("turn");
    asm.bind(turn);
    asm.load_map_value(Reg::R1, 1, 0);
    asm.load(Size::U32, Reg::R1, Reg::R1, 0);
    asm.mov(Reg::R0, 0);
    asm.jump_if(Cond::Eq, Reg::R1, 0, waits);
    asm.mov(Reg::R0, 1);
    asm.bind(waits);
    asm.exit();
    let code = asm.finish(false)?;
    let map = |name| MapDef::value(name, 4);
    Ok(Program {
        name: "t_holds_up".to_owned(),
        insns: code.insns,
        relocations: code.relocations,
        functions: code.functions,
        maps: vec![map(STATE), map(GO)],
        ..Program::default()
    })
}

/// `bpf_loop(times, function, NULL, 0)`
fn repeat(asm: &mut Assembler, times: i32, function: knobgate_bpf::Label) {
    asm.mov(Reg::R1, times);
    asm.load_function(Reg::R2, function);
    asm.mov(Reg::R3, 0);
    asm.mov(Reg::R4, 0);
    asm.call_helper(helper_ids::LOOP);
}

/// A process in the cgroup that reads a line, then writes this value and reports it.
fn writer(stage: &Stage, value: &str) -> Result<Reaped, Failed> {
    let mut writer =
        stage.shell(&format!("echo ready; read -r go; echo {value} 2>/dev/null >{KNOB}; echo done"))?;
    start_inside(&mut writer, &stage.held)?;
    Ok(Reaped(writer.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?))
}

fn expect_line(output: &mut impl BufRead, expected: &str) -> Result<(), Failed> {
    let mut line = String::new();
    output.read_line(&mut line)?;
    assert_eq!(line.trim_end(), expected);
    Ok(())
}

fn write(process: &mut Child) -> Result<(), Failed> {
    Ok(process.stdin.as_mut().ok_or("no input")?.write_all(b"go\n")?)
}

fn racing() -> Result<(), Failed> {
    for (condition, first, between, end) in [
        ("old <= new", "70", "100", "70\n"),
        // Without a race, no write lowers the value.
        ("64 <= new", "20", "100", "100\n"),
    ] {
        let rules = format!("default write deny\nallow write net.ipv4.ip_default_ttl if {condition}\n");
        let stage = Stage::new("t-racing", &rules)?;
        let program = load(&delaying()?, &LoadOptions::default())?;
        let (state, go) = (program.map(STATE).ok_or("no map")?, program.map(GO).ok_or("no map")?);
        state.update(&[0; 4], &2u32.to_ne_bytes())?;
        prog_attach(&program.program, &stage.top, AttachMode::Multi, &AttachPosition::default())?;
        // On a busy machine the second write may come too late.
        let mut attempts = 100;
        loop {
            attempts -= 1;
            assert!(attempts > 0, "the second write came too late each time");
            assert_eq!(stage.outside(&format!("echo 64 >{KNOB} && cat {KNOB}"))?, "64\n");
            let (mut one, mut other) = (writer(&stage, first)?, writer(&stage, between)?);
            let mut outputs = [&mut one, &mut other]
                .map(|process| BufReader::new(process.0.stdout.take().expect("its output")));
            for output in &mut outputs {
                expect_line(output, "ready")?;
            }
            go.update(&[0; 4], &0u32.to_ne_bytes())?;
            state.update(&[0; 4], &0u32.to_ne_bytes())?;
            write(&mut one.0)?;
            eventually("the first write is held up", || number(state).is_ok_and(|state| state != 0));
            write(&mut other.0)?;
            expect_line(&mut outputs[1], "done")?;
            let waited = number(state)? == 1;
            go.update(&[0; 4], &1u32.to_ne_bytes())?;
            expect_line(&mut outputs[0], "done")?;
            if waited {
                break;
            }
        }
        assert_eq!(stage.outside(&format!("cat {KNOB}"))?, end, "{condition}");
    }
    Ok(())
}
