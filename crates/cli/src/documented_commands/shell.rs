//! As much of the shell's grammar as the commands in the documents need.

/// Programs that run the command in their arguments.
const WRAPPERS: [&str; 5] = ["exec", "unshare", "nsenter", "time", "sudo"];

/// The arguments of each `knobgate` that a script starts, its name first, or `None` if a quote does not end. Of `cargo run -- …`, they
/// are what follows `--`.
pub(super) fn invocations(script: &str) -> Option<Vec<Vec<String>>> {
    let mut found = Vec::new();
    for command in commands(script)? {
        let words: Vec<&str> =
            command.iter().map(String::as_str).skip_while(|word| is_assignment(word)).collect();
        let is_knobgate = |word: &&str| *word == "knobgate" || word.ends_with("/bin/knobgate");
        let arguments = match words[..] {
            ["cargo", "run", "--release", "--", ref arguments @ ..] => arguments,
            [first, ..] if is_knobgate(&first) || WRAPPERS.contains(&first) => {
                let Some(at) = words.iter().position(is_knobgate) else { continue };
                &words[at + 1..]
            }
            _ => continue,
        };
        found.push(["knobgate"].iter().chain(arguments).map(|word| (*word).to_owned()).collect());
    }
    Some(found)
}

/// `NAME=value` before a command.
fn is_assignment(word: &str) -> bool {
    word.split_once('=').is_some_and(|(name, _)| {
        !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    })
}

/// The words of each simple command, and of those in `$(…)`, without redirections.
fn commands(script: &str) -> Option<Vec<Vec<String>>> {
    let (mut commands, mut current) = (Vec::new(), Vec::new());
    let mut word: Option<String> = None;
    // Whether the word is the file of a redirection.
    let mut is_target = false;
    let mut rest = script.chars().chain(['\n']).peekable();
    while let Some(char) = rest.next() {
        match char {
            '\\' => match rest.next() {
                Some('\n') => {}
                other => word.get_or_insert_default().extend(other),
            },
            '\'' => word.get_or_insert_default().push_str(&until(&mut rest, '\'')?),
            '"' => word.get_or_insert_default().push_str(&until(&mut rest, '"')?),
            '$' if rest.next_if_eq(&'(').is_some() => {
                let inner = until(&mut rest, ')')?;
                commands.extend(self::commands(&inner)?);
                // What stands for its output, and for the value of a variable: in the documents, both are ids of processes.
                word.get_or_insert_default().push('1');
            }
            '$' if rest.peek().is_some_and(char::is_ascii_alphabetic) => {
                while rest.next_if(|char| char.is_ascii_alphanumeric() || *char == '_').is_some() {}
                word.get_or_insert_default().push('1');
            }
            '#' if word.is_none() => while rest.next_if(|char| *char != '\n').is_some() {},
            ' ' | '\t' | '\n' | ';' | '|' | '&' | '(' | ')' | '<' | '>' => {
                // A number right before a redirection is a descriptor.
                let is_descriptor = matches!(char, '<' | '>')
                    && word.as_ref().is_some_and(|word| word.bytes().all(|byte| byte.is_ascii_digit()));
                if let Some(word) = word.take() {
                    if !is_target && !is_descriptor {
                        current.push(word);
                    }
                    is_target = false;
                }
                match char {
                    ' ' | '\t' => {}
                    '<' | '>' => {
                        while rest.next_if(|char| matches!(char, '<' | '>' | '&' | ' ')).is_some() {}
                        is_target = true;
                    }
                    _ => {
                        commands.push(std::mem::take(&mut current));
                        is_target = false;
                    }
                }
            }
            char => word.get_or_insert_default().push(char),
        }
    }
    commands.retain(|command| !command.is_empty());
    Some(commands)
}

/// What comes before `end`, which is taken, too; none of the documents has one inside of another.
fn until(rest: &mut impl Iterator<Item = char>, end: char) -> Option<String> {
    let mut text = String::new();
    loop {
        match rest.next()? {
            char if char == end => return Some(text),
            '\\' if end == '"' => text.extend(rest.next()),
            char => text.push(char),
        }
    }
}
