use crate::knobgate;

const ESCAPE: u8 = 0x1b;

/// Whether there are colours on standard error with these arguments and variables. It is a pipe.
fn is_coloured(arguments: &[&str], variables: &[(&str, &str)]) -> bool {
    let command = knobgate(["check", "many-errors.knob"]).args(arguments).envs(variables.iter().copied());
    command.output().unwrap().stderr.contains(&ESCAPE)
}

#[test]
fn a_pipe_gets_colours_only_if_requested() {
    assert!(!is_coloured(&[], &[]));
    assert!(!is_coloured(&[], &[("TERM", "xterm-256color")]));
    assert!(is_coloured(&["--color", "always"], &[]));
    assert!(is_coloured(&[], &[("CLICOLOR_FORCE", "1")]));
    assert!(!is_coloured(&[], &[("CLICOLOR_FORCE", "1"), ("NO_COLOR", "1")]));
    assert!(!is_coloured(&["--color", "never"], &[("CLICOLOR_FORCE", "1")]));
}
