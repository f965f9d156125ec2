//! The programs of the corpus: each ends as its head says, on the kernel and on the model, and leaves the same in its maps.

use std::fs;
use std::io::ErrorKind;
use std::sync::LazyLock;

use knobgate_backend::Backend;
use knobgate_bpf::{Object, TargetKernel};
use knobgate_hook::{KernelBtf, Profile};
use knobgate_kernel::RunningKernel;
use knobgate_testing::corpus::{CorpusProgram, Ending, Head, PROGRAMS, play};
use knobgate_testing::object_cases::knobs;
use knobgate_testing::{Both, Suite};

use crate::objects::lacks_for;

/// The kernel whose words are in the heads.
const REFERENCE: (u16, u16) = (6, 18);

/// A test for each program of which there is an object.
pub(crate) fn tests() -> Suite {
    PROGRAMS
        .iter()
        .fold(Suite::default(), |suite, program| {
            suite.test(program.name, |profile| lacks(program, profile), || Ok(check(program)?))
        })
        .in_module("corpus")
        .with_private_knobs()
}

/// Why this kernel cannot run a program, if it lacks something.
fn lacks(program: &CorpusProgram, profile: &Profile) -> Option<String> {
    let head = program.head().ok()?;
    let Some(object) = program.object().ok()? else { return Some("this compiler cannot express it".into()) };
    let since = if head.kernel_rejects.is_some() { REFERENCE } else { head.since.unwrap_or_default() };
    if profile.version < since {
        return Some(format!("{profile} is older than {}.{}", since.0, since.1));
    }
    let object = Object::read(&object).ok()?;
    let linked = object.program_for(head.program.as_deref(), &RunningKernel::default());
    let without_config = |error: &String| error.contains("the configuration of this kernel is neither");
    if let Some(error) = linked.err().map(|error| error.to_string()).filter(without_config) {
        return Some(error);
    }
    if profile.version >= REFERENCE {
        return None;
    }
    lacks_for(&object.program_for(head.program.as_deref(), &head.model_kernel(*profile)).ok()?, profile)
}

fn check(program: &CorpusProgram) -> Result<(), String> {
    let head = program.head()?;
    let object = program.object()?.ok_or("there is no object")?;
    let mut both = Both::new(knobs(&knobgate_testing::profile()));
    let running = RunningKernel::default();
    // The words of newer kernels may be others.
    let is_newer = knobgate_testing::profile().version > REFERENCE;
    let rejects = head.kernel_rejects.as_deref().map(|words| if is_newer { "" } else { words });
    let kernel = ending(&mut both.kernel, &running, &head, &object, rejects, None);
    let kernel = kernel.map_err(|difference| format!("the kernel: {difference}"))?;
    let modelled = head.model_kernel(knobgate_testing::profile());
    let (rejects, lacks) = (head.model_rejects.as_deref(), head.model_lacks.as_deref());
    let model = ending(&mut both.model, &modelled, &head, &object, rejects, lacks);
    let model = model.map_err(|difference| format!("the model: {difference}"))?;
    same(&kernel, &model)?;

    let Some(types) = &*TYPES else { return Ok(()) };
    let mut relocated = Both::new(knobs(&knobgate_testing::profile())).model;
    let model = play(&mut relocated, &modelled.btf(types.clone()), &head, &object)?;
    // What the model's own types leave open, the kernel's may tell.
    let as_kernel = || judge(&model, head.kernel_rejects.as_deref(), None);
    judge(&model, rejects, lacks)
        .or_else(|difference| as_kernel().map_err(|_| difference))
        .map_err(|difference| format!("the model with the kernel's types: {difference}"))?;
    same(&kernel, &model).map_err(|difference| format!("with the kernel's types: {difference}"))
}

/// The types of this kernel, if it has BTF.
static TYPES: LazyLock<Option<KernelBtf>> = LazyLock::new(|| match fs::read("/sys/kernel/btf/vmlinux") {
    Err(error) if error.kind() == ErrorKind::NotFound => None,
    file => Some(KernelBtf::read(&file.expect("the BTF of this kernel")).expect("BTF that can be used")),
});

fn same(kernel: &Ending, model: &Ending) -> Result<(), String> {
    match (kernel, model) {
        (Ending::Worked(kernel), Ending::Worked(model)) if kernel != model => {
            Err(format!("the maps differ:\n  kernel {kernel:x?}\n  model  {model:x?}"))
        }
        _ => Ok(()),
    }
}

/// How the program ended, if that is what the head says.
fn ending(
    backend: &mut dyn Backend,
    kernel: &dyn TargetKernel,
    head: &Head,
    object: &[u8],
    rejects: Option<&str>,
    lacks: Option<&str>,
) -> Result<Ending, String> {
    let ending = play(backend, kernel, head, object)?;
    judge(&ending, rejects, lacks).map(|()| ending)
}

/// Checks how a program ended.
fn judge(ending: &Ending, rejects: Option<&str>, lacks: Option<&str>) -> Result<(), String> {
    match (ending, rejects, lacks) {
        (Ending::Rejected(reason), Some(words), None) if reason.contains(words) => Ok(()),
        (Ending::NotModelled(what), None, Some(words)) if what.contains(words) => Ok(()),
        (Ending::Worked(_), None, None) => Ok(()),
        (Ending::Rejected(reason), ..) => Err(format!("it was rejected: {reason}")),
        (Ending::NotModelled(what), ..) => Err(format!("this is not modelled: {what}")),
        (Ending::Worked(_), ..) => {
            Err(format!("it worked; to be rejected with {rejects:?}, or to lack {lacks:?}"))
        }
    }
}
