//! The source of a program: a policy, or an object.

use std::fmt;
use std::fs::canonicalize;
use std::path::{Path, PathBuf};

use knobgate::{AttachmentError, Attachments, CompiledPolicy, ObjectOrigin};
use knobgate_bpf::{Object, ObjectError, Program};
use knobgate_kernel::{AttachmentName, Hierarchy, LoadOptions, LoadedProgram, RunningKernel, load};
use knobgate_policy::{Mode, PolicyFile};

use crate::deciding_hook::DecidingHook;
use crate::failure::Failure;
use crate::limited;
use crate::load_failure::{compile_failure, load_failure, program_failure};
use crate::output::Output;
use crate::policy_file::load_policy;
use crate::printable::printable;

/// The arguments that name the source.
#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("what").required(true).args(["policy", "object"]))]
pub(crate) struct ProgramSourceArgs {
    /// The policy; `-` is standard input
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
    /// Instead of a policy: an ELF object with your own program, as compiled by clang, in the section cgroup/sysctl
    #[arg(long, value_name = "FILE")]
    object: Option<PathBuf>,
    /// The program in the object; not needed if it has only one for this hook
    #[arg(long, value_name = "NAME", requires = "object", conflicts_with = "policy")]
    program: Option<String>,
    /// What a variable of the object starts with, also a constant one (`const volatile`); may be repeated
    ///
    /// VALUE is a number, true or false, the name of a value of an enum, or a text for an array of char; for another array its
    /// elements with commas between them; for anything else `hex:` and two digits for each byte.
    #[arg(long, value_name = "NAME=VALUE", value_parser = assignment, requires = "object", conflicts_with = "policy")]
    set: Vec<(String, String)>,
}

fn assignment(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("write the name of a variable, =, and its value, as in limit=100".to_owned()),
    }
}

/// A policy without errors, or a program.
#[derive(Debug)]
pub(crate) enum ProgramSource {
    Policy(Box<PolicyFile>),
    Object { path: PathBuf, program: Box<Program> },
}

impl ProgramSourceArgs {
    /// Reads it, and prints the errors of a policy.
    ///
    /// # Errors
    /// Those of [`load_policy`]; of an object, [`Failure::Usage`] if it cannot be read or a program must be named,
    /// [`Failure::Bad`] if it is not an object or its program cannot be used.
    pub(crate) fn read(&self, output: &Output) -> Result<ProgramSource, Failure> {
        match &self.object {
            Some(path) => {
                program_of(&self.read_object(path)?, path, self.program.as_deref(), &RunningKernel::default())
            }
            None => self.read_policy(output),
        }
    }

    /// The same, but with an object and no program name, all programs for this hook.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub(crate) fn read_all(&self, output: &Output) -> Result<Vec<ProgramSource>, Failure> {
        let Some(path) = &self.object else { return Ok(vec![self.read_policy(output)?]) };
        let object = self.read_object(path)?;
        let kernel = RunningKernel::default();
        let for_this_hook = object.programs().iter().filter(|program| program.expected_attach_type.is_some());
        let names: Vec<_> = for_this_hook.map(|program| program.name.as_str()).collect();
        if self.program.is_some() || names.is_empty() {
            return Ok(vec![program_of(&object, path, self.program.as_deref(), &kernel)?]);
        }
        let mut bytes = 0;
        let programs = names.into_iter().map(|name| {
            let program = program_of(&object, path, Some(name), &kernel)?;
            if let ProgramSource::Object { program, .. } = &program {
                bytes += program.bytes();
            }
            if bytes > Object::PROGRAMS_MAX {
                let most = Object::PROGRAMS_MAX >> 20;
                return Err(Failure::usage(format!(
                    "the programs of {} have more than {most} MiB together; say --program NAME",
                    path.display()
                )));
            }
            Ok(program)
        });
        programs.collect()
    }

    /// The object, with its variables set.
    fn read_object(&self, path: &Path) -> Result<Object, Failure> {
        let mut object = read_object(path)?;
        for (name, value) in &self.set {
            object.set(name, value).map_err(|error| {
                Failure::usage(format!("cannot set a variable of {}", path.display())).because(error)
            })?;
        }
        Ok(object)
    }

    fn read_policy(&self, output: &Output) -> Result<ProgramSource, Failure> {
        let Some(path) = &self.policy else { return Err(Failure::usage("no policy and no object")) };
        Ok(ProgramSource::Policy(Box::new(load_policy(path, output)?)))
    }
}

fn read_object(path: &Path) -> Result<Object, Failure> {
    let place = path.display();
    let bytes = limited::read_file(path, Object::BYTES_MAX)
        .map_err(|error| Failure::usage(format!("cannot read {place}")).because(error))?;
    Object::read(&bytes)
        .map_err(|error| Failure::bad(format!("cannot take a program from {place}")).because(error))
}

fn program_of(
    object: &Object,
    path: &Path,
    name: Option<&str>,
    kernel: &RunningKernel,
) -> Result<ProgramSource, Failure> {
    let place = path.display();
    let program = object.program_for(name, kernel).map_err(|error| match error {
        ObjectError::WhichProgram { .. } => {
            Failure::usage(format!("cannot choose a program of {place}; say --program NAME")).because(error)
        }
        ObjectError::NoSuchProgram { .. } | ObjectError::OtherHook { .. } => {
            Failure::usage(format!("cannot take that program from {place}")).because(error)
        }
        _ => Failure::bad(format!("cannot take a program from {place}")).because(error),
    })?;
    Ok(ProgramSource::Object { path: path.to_owned(), program: Box::new(program) })
}

impl ProgramSource {
    /// The name of the policy or program.
    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Policy(file) => file.policy().name(),
            Self::Object { program, .. } => &program.name,
        }
    }

    /// The policy, if it is one.
    pub(crate) fn policy_file(&self) -> Option<&PolicyFile> {
        match self {
            Self::Policy(file) => Some(file),
            Self::Object { .. } => None,
        }
    }

    /// Which hook decides.
    pub(crate) fn on(&self, hook: &DecidingHook) -> String {
        match self {
            Self::Policy(_) => format!("{self} is decided by {hook}"),
            Self::Object { .. } => format!("{self} runs on {hook}"),
        }
    }

    /// Loads it into the kernel, for this attachment if there is one. Warns if the program is stricter than the policy.
    ///
    /// # Errors
    /// [`Failure::Machine`] if this machine cannot run it; [`Failure::Bad`] for a policy that is too large, or a program
    /// that the verifier rejects.
    pub(crate) fn load(
        &self,
        of: Option<(&Attachments, &AttachmentName)>,
        output: &Output,
    ) -> Result<LoadedProgram, Failure> {
        let what = match self {
            Self::Policy(_) => format!("cannot enforce {self}"),
            Self::Object { .. } => format!("cannot load {self}"),
        };
        Hierarchy::find().map_err(|error| Failure::machine(&what).because(error))?;
        match self {
            Self::Policy(file) => {
                let compiled =
                    CompiledPolicy::compile(&**file).map_err(|error| compile_failure(file, error))?;
                let loaded = match of {
                    Some((attachments, name)) => attachments.load(name, &compiled),
                    None => compiled.load().map_err(AttachmentError::Load),
                };
                let loaded = loaded.map_err(|error| match error {
                    AttachmentError::Load(error) => load_failure(Failure::machine(what), error),
                    error => error.into(),
                })?;
                for limit in compiled.limits() {
                    output.warning(limit);
                }
                if file.policy().mode() == Mode::Audit {
                    output.note(format!("{self} is in audit mode: it counts what it would deny or rewrite, and lets everything pass"));
                }
                Ok(loaded)
            }
            Self::Object { path, program } => {
                let mut program = program.clone();
                ObjectOrigin::add_to(&mut program, &canonicalize(path).unwrap_or_else(|_| path.clone()));
                load(&program, &LoadOptions::default()).map_err(|error| program_failure(what, error))
            }
        }
    }
}

/// `the policy "web"` or `the program "watch"`
impl fmt::Display for ProgramSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self {
            Self::Policy(_) => "policy",
            Self::Object { .. } => "program",
        };
        write!(f, "the {what} \"{}\"", printable(self.name()))
    }
}
