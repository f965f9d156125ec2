//! `knobgate simulate`: play scenarios.

mod junit;
mod kernel_btf;
mod mismatch_text;
mod playing;
mod scenario_file;
mod tap;
mod test_point;
mod verify_command;
mod watching;

use std::path::PathBuf;
use std::process::ExitCode;

use knobgate_hook::KernelBtf;
use knobgate_hook::machine::Coverage;
use knobgate_kernel::RunningKernel;
use knobgate_scenario::LinkFor;

use crate::failure::{Failure, USAGE};
use crate::file_output::FileOutput;
use crate::limited::is_stdin;
use crate::output::{Output, chain};
use playing::{Played, Player, Status};
use scenario_file::ScenarioFile;

/// Play scenarios: load and attach programs, read and write knobs, and print or check the results
///
/// A scenario is a JSON document with knobs, programs, cgroups and steps. It is played on the hook in user space, which
/// needs no root and changes nothing, or with `--on-kernel` on the running kernel, as root. Each step prints one line
/// of JSON, and the lines are the same on both. A step can say what it expects, so that a scenario is a test.
/// docs/simulate.md describes the format; schemas/scenario.schema.json is its schema.
///
/// On the running kernel, the scenario uses the machine's own knobs. It sets their values, and restores them at the
/// end, also after SIGINT and SIGTERM. Use `unshare --net --uts --ipc` to keep the machine's knobs out of it.
///
/// Privileges: none; with --on-kernel: root, CAP_BPF, CAP_NET_ADMIN, CAP_PERFMON.
///
/// Exit status: 0 if all steps were played and were as they expect; 1 if a step was not as it expects, if a scenario has
/// errors, if a program in user space did what no verifier allows, or if the kernel would have crashed; 2 if a file
/// cannot be read; 3 if this machine cannot play it; 5 if a program needs what the hook in user space does not model;
/// 128+n if signal n ended it. Of several scenarios, 128+n counts first, then 3, 2, 1 and 5.
#[derive(Debug, clap::Args)]
pub(crate) struct Simulate {
    /// The scenarios; `-` is standard input
    #[arg(required = true, value_name = "SCENARIO.json")]
    scenarios: Vec<PathBuf>,
    /// Play them on the running kernel
    #[arg(long)]
    on_kernel: bool,
    /// Link the programs of objects for the types of the kernel with this BTF, such as a copy of its
    /// /sys/kernel/btf/vmlinux, or an ELF file with a section .BTF; the hook in user space lays out tasks like that kernel
    #[arg(long, value_name = "FILE", conflicts_with = "on_kernel")]
    btf: Option<PathBuf>,
    /// The format of the results
    #[arg(long, value_name = "FORMAT", default_value = "json")]
    format: Format,
    /// Write which source lines of the programs have run, in all scenarios together, as LCOV to this file
    #[arg(long, value_name = "FILE", conflicts_with = "on_kernel")]
    coverage: Option<PathBuf>,
    /// Play again whenever a scenario changes, or a file that it names, until a signal comes. The file of --btf is read once
    #[arg(long)]
    watch: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// A line of JSON for each step; of several scenarios, with the name of the file
    Json,
    /// TAP 13: a test point for each step that expects something
    Tap,
    /// JUnit XML: one test suite per file, one test case for each step that expects something
    Junit,
}

impl Simulate {
    pub(crate) fn run(self, output: &Output) -> Result<ExitCode, Failure> {
        if self.watch {
            if self.scenarios.iter().any(|path| is_stdin(path)) {
                return Err(Failure::usage("standard input cannot be watched: name a file"));
            }
            return watching::play_again_and_again(&self, output);
        }
        self.play(&self.read(self.btf()?.as_ref()), output).map(ExitCode::from)
    }

    /// The types for the model that the command line names.
    fn btf(&self) -> Result<Option<KernelBtf>, Failure> {
        self.btf.as_deref().map(kernel_btf::read).transpose()
    }

    fn read(&self, btf: Option<&KernelBtf>) -> Vec<ScenarioFile> {
        let running = RunningKernel::default();
        let link_for = if self.on_kernel { LinkFor::Kernel(&running) } else { LinkFor::Model(btf) };
        self.scenarios.iter().map(|path| ScenarioFile::read(path, link_for)).collect()
    }

    /// Plays all scenarios. Returns the exit status.
    fn play(&self, files: &[ScenarioFile], output: &Output) -> Result<u8, Failure> {
        let inputs = files.iter().flat_map(|file| file.files.iter().cloned()).chain(self.btf.clone());
        let inputs: Vec<PathBuf> = inputs.collect();
        let coverage = self.coverage.as_deref().map(|path| FileOutput::new(path, &inputs)).transpose()?;
        let mut all: Vec<Played> = Vec::new();
        for file in files {
            let shows = (self.format == Format::Json).then_some(files.len() > 1);
            let stopped = matches!(all.last(), Some(Played { status: Status::Stopped(_), .. }));
            all.push(match &file.scenario {
                _ if stopped => Played::not_played(file, "a signal stopped the command"),
                Ok(scenario) => {
                    let covers = coverage.is_some();
                    playing::play(Player { file, scenario, shows, covers, output }, self.on_kernel)?
                }
                Err(failures) => {
                    failures.iter().for_each(|failure| output.failure(failure));
                    let cannot_be_read = failures.iter().any(|failure| failure.exit_code() == USAGE.into());
                    let why: Vec<String> = failures.iter().map(|failure| chain(failure)).collect();
                    Played {
                        status: if cannot_be_read { Status::CannotRead } else { Status::Bad },
                        ..Played::not_played(file, &why.join("\n"))
                    }
                }
            });
        }
        match self.format {
            Format::Json => {}
            Format::Tap => output.raw(tap::document(&all).as_bytes())?,
            Format::Junit => output.raw(&junit::document(&all)?)?,
        }
        let status = all.iter().map(|played| played.status).max().unwrap_or_default();
        if let Some(file) = coverage {
            let mut coverage = Coverage::default();
            all.into_iter().for_each(|played| coverage.merge(played.coverage));
            file.write(|file| file.write_all(coverage.to_lcov().as_bytes()))?;
        }
        Ok(status.exit_status())
    }
}
