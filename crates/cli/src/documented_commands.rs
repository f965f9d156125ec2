//! The commands in README.md and in the pages of docs/ are commands that this program takes.
//!
//! They are read, and not run: a renamed option, a missing argument or a wrong filter makes the test fail.
//!
//! | where | what is taken for a command |
//! | --- | --- |
//! | a block ```` ```sh ```` | every line |
//! | a block ```` ```console ```` or ```` ```text ```` | lines that begin with a prompt, `# ` or `$ ` |
//! | any other block | what follows `KEY=` or `KEY: ` and begins with the path of the program |
//! | an indented block | lines that begin with `knobgate` |
//! | code in a sentence | what begins with `knobgate`; it may leave out arguments |

mod shell;

use std::fs;
use std::path::{Path, PathBuf};

use clap::Parser;
use clap::error::ErrorKind;
use knobgate_policy::Source;
use knobgate_policy::filter::Filter;

use crate::Cli;

/// A command in a page.
struct Documented {
    place: String,
    /// What a shell would be given.
    text: String,
    /// Whether it has all of its arguments.
    is_whole: bool,
}

/// README.md and docs/*.md, each with its path from the root of the project.
fn pages() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let entries = fs::read_dir(root.join("docs")).expect("docs").map(|entry| entry.expect("an entry").path());
    let mut pages: Vec<PathBuf> =
        entries.filter(|path| path.extension().is_some_and(|it| it == "md")).collect();
    pages.push(root.join("README.md"));
    pages.sort();
    let read = |path: PathBuf| {
        let text = fs::read_to_string(&path).expect("text");
        (path.strip_prefix(&root).expect("it is below the root").display().to_string(), text)
    };
    pages.into_iter().map(read).collect()
}

/// The commands of a page, in their order.
fn documented(page: &str, text: &str) -> Vec<Documented> {
    let mut found = Vec::new();
    let mut lines = text.lines().zip(1_usize..);
    let mut prose = String::new();
    while let Some((line, number)) = lines.next() {
        let place = format!("{page}:{number}");
        if let Some(info) = line.trim_start().strip_prefix("```") {
            let inside = lines.by_ref().take_while(|(line, _)| line.trim_start() != "```");
            let inside: Vec<(&str, usize)> = inside.collect();
            in_block(page, info.split(',').next().unwrap_or_default(), &inside, &mut found);
            prose.push('\n');
        } else if let Some(command) = line.strip_prefix("    ").filter(|rest| rest.starts_with("knobgate ")) {
            // `[NAME]` is an argument that can be left out.
            let text = command.replace(" [", " ").replace("] ", " ");
            found.push(Documented { place, text: text.trim_end_matches(']').to_owned(), is_whole: true });
        } else {
            prose += line;
            prose.push('\n');
        }
    }
    for code in prose.split("\n\n").flat_map(|paragraph| paragraph.split('`').skip(1).step_by(2)) {
        let words: Vec<&str> = code.split_whitespace().filter(|word| *word != "…").collect();
        let code = words.join(" ");
        if code.starts_with("knobgate ") {
            found.push(Documented { place: format!("{page}, in a sentence"), text: code, is_whole: false });
        }
    }
    found
}

fn in_block(page: &str, language: &str, lines: &[(&str, usize)], found: &mut Vec<Documented>) {
    let mut push = |number: usize, text: String| {
        found.push(Documented { place: format!("{page}:{number}"), text, is_whole: true });
    };
    match language {
        "sh" => {
            let script: Vec<&str> = lines.iter().map(|(line, _)| *line).collect();
            push(lines.first().map_or(0, |(_, number)| *number), script.join("\n"));
        }
        "console" | "text" => {
            let mut lines = lines.iter();
            while let Some((line, number)) = lines.next() {
                let Some(command) = line.strip_prefix("# ").or_else(|| line.strip_prefix("$ ")) else {
                    continue;
                };
                // Most lines without the name are commands of others, or comments in what a command prints.
                if !command.contains("knobgate") {
                    continue;
                }
                let mut command = command.to_owned();
                while shell::invocations(&command).is_none() {
                    let Some((line, _)) = lines.next() else { break };
                    command = command + "\n" + line;
                }
                push(*number, command);
            }
        }
        _ => {
            for (line, number) in lines {
                let value = line.split_once(['=', ':']).map(|(_, value)| value.trim_start());
                if let Some(value) = value.filter(|value| value.starts_with("/usr/bin/knobgate ")) {
                    push(*number, value.to_owned());
                }
            }
        }
    }
}

/// What is wrong with a command line, if anything is.
fn wrong(arguments: &[String], is_whole: bool) -> Option<String> {
    let filters = arguments.windows(2).filter(|pair| pair[0] == "--filter").map(|pair| &pair[1]);
    for filter in filters {
        if let Err(error) = Filter::parse(Source::new("--filter", filter.as_str())) {
            return Some(format!("the filter {filter}: {error}"));
        }
    }
    let error = Cli::try_parse_from(arguments).err()?;
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => None,
        ErrorKind::MissingRequiredArgument | ErrorKind::MissingSubcommand if !is_whole => None,
        // An option is named without its value, or with a placeholder for it.
        ErrorKind::InvalidValue | ErrorKind::ValueValidation if !is_whole => None,
        _ => Some(error.to_string()),
    }
}

#[test]
fn the_commands_in_the_documents_parse() {
    let (mut whole, mut in_sentences, mut errors) = (0, 0, String::new());
    for (page, text) in pages() {
        for Documented { place, text, is_whole } in documented(&page, &text) {
            let Some(invocations) = shell::invocations(&text) else {
                // What a sentence says need not be a whole command of a shell.
                assert!(!is_whole, "{place}: a quote that does not end: {text}");
                continue;
            };
            for arguments in invocations {
                *(if is_whole { &mut whole } else { &mut in_sentences }) += 1;
                if let Some(error) = wrong(&arguments, is_whole) {
                    errors += &format!("{place}: {}\n{error}\n", arguments.join(" "));
                }
            }
        }
    }
    assert!(errors.is_empty(), "{errors}");
    assert!(whole > 90 && in_sentences > 120, "{whole} whole commands, {in_sentences} in sentences");
}

#[test]
fn commands_are_found_wherever_a_page_has_them() {
    let page = "\
Use `knobgate list` or `knobgate
show NAME`, not `other`.

    knobgate detach web [--cgroup PATH]

```console
$ knobgate check a.knob | head; echo 'a
b' && knobgate fmt b.knob
a line with knobgate list
```

```ini,file=x
hook = /usr/bin/knobgate oci-hook
```

```sh
# knobgate no-command
exec /usr/bin/knobgate runtime -- \"$@\"
```
";
    let found = documented("page", page);
    let lines: Vec<String> = found
        .iter()
        .flat_map(|found| shell::invocations(&found.text).expect("whole quotes"))
        .map(|arguments| arguments[1..].join(" "))
        .collect();
    let expected = [
        "detach web --cgroup PATH",
        "check a.knob",
        "fmt b.knob",
        "oci-hook",
        "runtime -- $@",
        "list",
        "show NAME",
    ];
    assert_eq!(lines, expected);
    assert!(wrong(&["knobgate".into(), "list".into(), "--no-such".into()], false).is_some());
    assert!(wrong(&["knobgate".into(), "show".into()], true).is_some());
    assert!(wrong(&["watch", "--filter", "knob == \"x\""].map(str::to_owned), true).is_some());
    assert!(wrong(&["knobgate".into(), "show".into()], false).is_none());
}
