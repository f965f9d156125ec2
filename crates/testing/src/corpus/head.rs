//! The comment at the head of a program of the corpus.
//!
//! ```c
//! // What the program shows, in a sentence.
//! // WRITE net/ipv4/ip_default_ttl "65\n" => 3
//! // READ kernel/domainname @3 => "example\n"
//! // VARIABLE counts = {1, 2}
//! // ENTRIES events = 2
//! // CONTAINS events "example\0"
//! ```

use knobgate_hook::{ModelKernel, Profile};

/// What the head of a program says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Head {
    /// What the program shows.
    pub summary: String,
    /// `PROGRAM`: the program's name, where the object has several.
    pub program: Option<String>,
    /// `SINCE`: the first kernel that does all this.
    pub since: Option<(u16, u16)>,
    /// `CPU`: the first version of the instruction set in which a compiler can express it (`v3`).
    pub cpu: Option<String>,
    /// `CLANG`: the first version of clang that can.
    pub clang: Option<u32>,
    /// `KERNEL rejects "…"`: words of the kernel's reason.
    pub kernel_rejects: Option<String>,
    /// `MODEL rejects "…"`: words of the model's.
    pub model_rejects: Option<String>,
    /// `MODEL lacks "…"`: words of what the program needs and the model does not have.
    pub model_lacks: Option<String>,
    /// `VARIES`: maps that have other contents on each machine, such as process ids.
    pub varies: Vec<String>,
    /// `LACKS`: what the kernel does not have, which the model has to be told.
    pub lacks: Vec<String>,
    /// What is done and compared, in this order.
    pub lines: Vec<Line>,
}

/// A line of a head that is done or compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Line {
    /// `READ` or `WRITE`
    Access(Access),
    /// `VARIABLE`: a variable has this value.
    Variable(String, Value),
    /// `ENTRIES`: in the end, a map has so many entries, records or values.
    Entries(String, usize),
    /// `CONTAINS`: in the end, these bytes are in one of its values or records.
    Contains(String, Vec<u8>),
}

/// An access, and how it ends: `READ KNOB @POSITION => RESULT`, `WRITE KNOB "BYTES" @POSITION => RESULT`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Access {
    /// The knob, with slashes.
    pub knob: String,
    /// What is written; `None` for a read.
    pub written: Option<Vec<u8>>,
    /// The file position.
    pub position: i64,
    /// The result.
    pub expected: Expected,
}

/// The result of an access.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expected {
    /// `*`: it succeeds.
    Succeeds,
    /// `EPERM`, or a number: what the system call returns.
    Returns(i64),
    /// `"BYTES"`: what is read.
    Reads(Vec<u8>),
}

/// The value of a variable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// Numbers, as many as an array has; 1 for a scalar.
    Numbers(Vec<i128>),
    /// The bytes of an array, without the zeros at its end.
    Bytes(Vec<u8>),
}

impl Value {
    /// Whether the memory of a variable holds it.
    pub fn is_in(&self, memory: &[u8]) -> bool {
        match self {
            Self::Numbers(numbers) => {
                let size = memory.len() / numbers.len();
                let encoded = numbers.iter().flat_map(|number| number.to_le_bytes().into_iter().take(size));
                (1..=8).contains(&size) && memory.iter().copied().eq(encoded)
            }
            Self::Bytes(bytes) => {
                memory.starts_with(bytes) && memory[bytes.len()..].iter().all(|&byte| byte == 0)
            }
        }
    }
}

impl Head {
    /// Reads the head of a source.
    ///
    /// # Errors
    ///
    /// The line that is wrong.
    pub fn parse(source: &str) -> Result<Self, String> {
        let mut head = Self::default();
        for (number, text) in source.lines().map_while(|line| line.strip_prefix("// ")).enumerate() {
            head.read(text).ok_or_else(|| format!("line {} cannot be understood: {text}", number + 1))?;
        }
        if head.summary.is_empty() {
            return Err("there is no sentence that says what it shows".into());
        }
        if head.lines.is_empty() && head.kernel_rejects.is_none() {
            return Err("nothing is compared".into());
        }
        Ok(head)
    }

    /// The kernel that the model stands for when the program runs on it.
    pub fn model_kernel(&self, profile: Profile) -> ModelKernel {
        self.lacks.iter().fold(ModelKernel::new(profile), |kernel, what| kernel.without(what))
    }

    fn read(&mut self, text: &str) -> Option<()> {
        let (word, rest) = text.split_once(' ')?;
        let quoted = |verb: &str| String::from_utf8(bytes(rest.strip_prefix(verb)?)?).ok();
        match word {
            "PROGRAM" => self.program = Some(rest.to_owned()),
            "SINCE" => {
                let (major, minor) = rest.split_once('.')?;
                self.since = Some((major.parse().ok()?, minor.parse().ok()?));
            }
            "CPU" => self.cpu = Some(rest.to_owned()),
            "CLANG" => self.clang = Some(rest.parse().ok()?),
            "LACKS" => self.lacks.push(rest.to_owned()),
            "VARIES" => self.varies.push(rest.to_owned()),
            "KERNEL" => self.kernel_rejects = Some(quoted("rejects ")?),
            "MODEL" if rest.starts_with("lacks ") => self.model_lacks = Some(quoted("lacks ")?),
            "MODEL" => self.model_rejects = Some(quoted("rejects ")?),
            "READ" | "WRITE" => {
                let (access, expected) = rest.rsplit_once(" => ")?;
                self.lines.push(Line::Access(Access::read(access, word == "WRITE", expected)?));
            }
            "VARIABLE" => {
                let (name, shown) = rest.split_once(" = ")?;
                self.lines.push(Line::Variable(name.to_owned(), value(shown)?));
            }
            "ENTRIES" => {
                let (map, count) = rest.split_once(" = ")?;
                self.lines.push(Line::Entries(map.to_owned(), count.parse().ok()?));
            }
            "CONTAINS" => {
                let (map, contained) = rest.split_once(' ')?;
                self.lines.push(Line::Contains(map.to_owned(), bytes(contained)?));
            }
            _ if word.len() > 1 && word.bytes().all(|byte| byte.is_ascii_uppercase()) => return None,
            _ if !self.summary.is_empty() => {
                self.summary.push(' ');
                self.summary += text;
            }
            _ => self.summary = text.to_owned(),
        }
        Some(())
    }
}

impl Access {
    fn read(access: &str, writes: bool, expected: &str) -> Option<Self> {
        // What is written may have an @ of its own.
        let position = access.rsplit_once(" @").and_then(|(rest, number)| Some((rest, number.parse().ok()?)));
        let (access, position) = position.unwrap_or((access, 0));
        let (knob, written) = match access.split_once(' ') {
            Some((knob, written)) if writes => (knob, Some(bytes(written)?)),
            None if !writes => (access, None),
            _ => return None,
        };
        let expected = match expected {
            "*" => Expected::Succeeds,
            "EPERM" => Expected::Returns(-1),
            _ if expected.starts_with('"') => Expected::Reads(bytes(expected)?),
            _ => Expected::Returns(expected.parse().ok()?),
        };
        Some(Self { knob: knob.to_owned(), written, position, expected })
    }
}

/// A number, `{numbers, …}`, or `"bytes"`.
fn value(shown: &str) -> Option<Value> {
    if shown.starts_with('"') {
        return bytes(shown).map(Value::Bytes);
    }
    let numbers = shown.strip_prefix('{').map_or(Some(shown), |rest| rest.strip_suffix('}'))?;
    numbers.split(',').map(|number| parse_number(number.trim())).collect::<Option<_>>().map(Value::Numbers)
}

fn parse_number(text: &str) -> Option<i128> {
    match text.strip_prefix("0x") {
        Some(digits) => i128::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    }
}

/// What is between two quotes, with `\n` for a newline and `\0` for a NUL.
fn bytes(quoted: &str) -> Option<Vec<u8>> {
    let text = quoted.strip_prefix('"')?.strip_suffix('"')?;
    Some(text.replace("\\n", "\n").replace("\\0", "\0").into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_says_what_to_do_and_what_comes_of_it() {
        let head = Head::parse(
            "// Shows something,\n// at length.\n// CPU v4\n// CLANG 18\n// PROGRAM main\n// SINCE 5.19\n\
             // READ kernel/domainname @3 => \"a b\\n\"\n// WRITE net/x \"1 @2\" => EPERM\n\
             // VARIABLE numbers = {-1, 0x10}\n// VARIABLE text = \"x\"\n// ENTRIES events = 2\n// VARIES ids\n// VARIES times\n\
             // LACKS struct a.b\n\
             // CONTAINS events \"x\\0\"\nint x;\n// READ y",
        );
        let access = |knob: &str, written: Option<&[u8]>, position, expected| {
            Line::Access(Access {
                knob: knob.to_owned(),
                written: written.map(<[u8]>::to_vec),
                position,
                expected,
            })
        };
        let expected = Head {
            summary: "Shows something, at length.".to_owned(),
            program: Some("main".to_owned()),
            since: Some((5, 19)),
            cpu: Some("v4".to_owned()),
            clang: Some(18),
            varies: vec!["ids".to_owned(), "times".to_owned()],
            lacks: vec!["struct a.b".to_owned()],
            lines: vec![
                access("kernel/domainname", None, 3, Expected::Reads(b"a b\n".to_vec())),
                access("net/x", Some(b"1 @2"), 0, Expected::Returns(-1)),
                Line::Variable("numbers".to_owned(), Value::Numbers(vec![-1, 16])),
                Line::Variable("text".to_owned(), Value::Bytes(b"x".to_vec())),
                Line::Entries("events".to_owned(), 2),
                Line::Contains("events".to_owned(), b"x\0".to_vec()),
            ],
            ..Head::default()
        };
        assert_eq!(head, Ok(expected));

        let head =
            Head::parse("// It is wrong.\n// KERNEL rejects \"no\"\n// MODEL rejects \"never\"").unwrap();
        assert_eq!(head.kernel_rejects.as_deref(), Some("no"));
        assert_eq!(head.model_rejects.as_deref(), Some("never"));

        let head = Head::parse("// It is new.\n// MODEL lacks \"it\"\n// READ x => 1").unwrap();
        assert_eq!(head.model_lacks.as_deref(), Some("it"));
    }

    #[test]
    fn a_line_that_cannot_be_understood_is_an_error() {
        for line in [
            "READ x",
            "READ x \"y\" => *",
            "WRITE x => 1",
            "WRITE x \"y => 1",
            "WRITE x \"y\" => many",
            "VARIABLE x = {1, y}",
            "VARIABLE x = {1",
            "ENTRIES x = -1",
            "CONTAINS x y",
            "SINCE 6",
            "CLANG new",
            "KERNEL accepts \"x\"",
            "EXPECT x",
        ] {
            let error = Head::parse(&format!("// A program.\n// READ x => *\n// {line}\nint x;"));
            assert_eq!(error, Err(format!("line 3 cannot be understood: {line}")));
        }
        assert!(Head::parse("int x;").unwrap_err().contains("no sentence"));
        assert!(Head::parse("// A program.").unwrap_err().contains("nothing is compared"));
    }

    #[test]
    fn values_are_compared_with_all_of_a_variable() {
        let numbers = |numbers: &[i128]| Value::Numbers(numbers.to_vec());
        assert!(numbers(&[-1]).is_in(&[0xff; 4]) && numbers(&[0xffff_ffff]).is_in(&[0xff; 4]));
        assert!(numbers(&[1, 2]).is_in(&[1, 0, 2, 0]) && !numbers(&[1, 2]).is_in(&[1, 0, 3, 0]));
        assert!(!numbers(&[0]).is_in(&[]) && !numbers(&[1, 2]).is_in(&[1, 2, 0]));
        let text = Value::Bytes(b"ab".to_vec());
        assert!(text.is_in(b"ab\0\0") && !text.is_in(b"abc\0") && !text.is_in(b"a"));
    }
}
