//! The programs of the corpus on the hook in user space. tests/hook/corpus.rs has them on the running kernel as well.

use knobgate_backend::ModelBackend;
use knobgate_hook::{Hook, Profile};
use knobgate_testing::corpus::{CorpusProgram, Ending, PROGRAMS, play};
use knobgate_testing::object_cases::knobs;

#[test]
fn programs_of_the_corpus_end_as_their_heads_say() {
    let wrong: Vec<String> = PROGRAMS.iter().filter_map(|program| difference(program).err()).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn difference(program: &CorpusProgram) -> Result<(), String> {
    let profile = Profile::default();
    let mut model = ModelBackend::new(Hook::new(profile, knobs(&profile)), 1).expect("a new hook");
    let head = program.head()?;
    let object = program.object()?.ok_or_else(|| format!("{}: there is no object", program.name))?;
    let ending = play(&mut model, &head.model_kernel(profile), &head, &object)
        .map_err(|difference| format!("{}: {difference}", program.name))?;
    match (ending, &head.model_rejects, &head.model_lacks) {
        (Ending::Worked(_), None, None) => Ok(()),
        (Ending::Rejected(reason), Some(words), None) if reason.contains(words) => Ok(()),
        (Ending::NotModelled(what), None, Some(words)) if what.contains(words) => Ok(()),
        (ending, rejects, lacks) => Err(format!(
            "{}: {ending:?}; to be rejected with {rejects:?}, or to lack {lacks:?}",
            program.name
        )),
    }
}
