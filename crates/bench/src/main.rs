//! Times programs on the running kernel's hook, and writes what came out to `docs/performance.md`.
//!
//! `cargo run --release -p knobgate-bench`, as root, from the top of the repository, on a machine that does nothing
//! else. It takes some minutes; with the argument `events` it times only these, and prints that. What it reads and writes are knobs of network and IPC namespaces of its own.
#![forbid(unsafe_code)]

mod accesses;
mod attaching;
mod events;
mod machine;
mod memory;
mod pairs;
mod plot;
mod processes;
mod programs;
mod report;
mod scale;
mod stage;
mod statistics;
mod timing;

use std::error::Error;
use std::path::Path;
use std::process::ExitCode;

use crate::stage::Stage;

fn main() -> Result<ExitCode, Box<dyn Error>> {
    if memory::compile_alone()? {
        return Ok(ExitCode::SUCCESS);
    }
    let Some(stage) = Stage::find()? else { return stage::enter() };
    if std::env::args().nth(1).as_deref() == Some("events") {
        print!("{}", report::events(&events::denials(&stage)?));
        return Ok(ExitCode::SUCCESS);
    }
    let docs = Path::new("docs");
    if !docs.is_dir() {
        return Err("docs/ is not here: start this from the top of the repository".into());
    }
    let machine = machine::describe()?;
    eprintln!("1 of 5: the command as a process");
    let processes = processes::measure(&stage)?;
    stage.stay_on_one_cpu()?;
    eprintln!("2 of 5: what it costs that something is attached");
    let floor = accesses::floor(&stage)?;
    eprintln!("3 of 5: what policies add");
    let groups = accesses::groups(&stage)?;
    eprintln!("4 of 5: large policies, many cgroups");
    let scale = scale::measure(&stage)?;
    eprintln!("5 of 5: events");
    let denials = events::denials(&stage)?;

    let text = report::markdown(&machine, &floor, &groups, &scale, &processes, &denials);
    std::fs::write(docs.join("performance.md"), &text)?;
    std::fs::write(docs.join("performance.svg"), plot::svg(&groups)?)?;
    print!("{text}");
    Ok(ExitCode::SUCCESS)
}
