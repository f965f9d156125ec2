//! The running kernel, as programs of objects depend on it: its types, its configuration and its symbols.

use std::cell::{OnceCell, RefCell};
use std::collections::HashMap;
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::{Arc, LazyLock};

use flate2::read::MultiGzDecoder;
use knobgate_bpf::{KernelSymbol, KernelTypes, TargetKernel};

use crate::machine::kernel_version;

/// The running kernel, to link the programs of an object for.
///
/// What is needed is read once: `/proc/config.gz` or `/boot/config-RELEASE`, and `/proc/kallsyms`; `/sys/kernel/btf/vmlinux` once in a
/// process.
///
/// ```no_run
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use knobgate_bpf::Object;
/// use knobgate_kernel::{LoadOptions, RunningKernel, load};
///
/// let object = Object::read(&std::fs::read("mine.bpf.o")?)?;
/// let program = object.program_for(None, &RunningKernel::default())?;
/// let loaded = load(&program, &LoadOptions::default())?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Default)]
pub struct RunningKernel {
    config: OnceCell<Result<HashMap<String, String>, String>>,
    symbols: OnceCell<Result<String, String>>,
    /// Those that were looked for among 200,000, by name.
    found: RefCell<HashMap<String, Result<Option<KernelSymbol>, String>>>,
}

/// What `/sys/kernel/btf/vmlinux` holds, and its types. It does not change before the next boot.
static BTF: LazyLock<Result<Arc<[u8]>, String>> = LazyLock::new(|| read_btf().map(Arc::from));
static TYPES: LazyLock<Option<KernelTypes>> =
    LazyLock::new(|| KernelTypes::read(Arc::clone(BTF.as_ref().ok()?)));

/// Kernels have about 6 MiB of BTF, 300 KiB of configuration and 10 MiB of symbols.
const BYTES_MAX: u64 = 256 << 20;

impl fmt::Display for RunningKernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (major, minor, patch) = kernel_version();
        write!(f, "Linux {major}.{minor}.{patch}")
    }
}

impl TargetKernel for RunningKernel {
    fn btf(&self) -> Result<&[u8], String> {
        BTF.as_deref().map_err(Clone::clone)
    }

    fn types(&self) -> Option<&KernelTypes> {
        TYPES.as_ref()
    }

    fn version_code(&self) -> Result<u32, String> {
        let (major, minor, patch) = kernel_version();
        Ok(u32::from(major) << 16 | u32::from(minor) << 8 | u32::from(patch.min(255)))
    }

    fn config(&self, option: &str) -> Result<Option<String>, String> {
        let options = self.config.get_or_init(read_config).as_ref().map_err(Clone::clone)?;
        Ok(options.get(option).cloned())
    }

    fn symbol(&self, name: &str) -> Result<Option<KernelSymbol>, String> {
        const PATH: &str = "/proc/kallsyms";
        let read = || {
            let bytes =
                open(PATH).and_then(read_all).map_err(|error| format!("cannot read {PATH}: {error}"))?;
            Ok(String::from_utf8_lossy(&bytes).into_owned())
        };
        if let Some(known) = self.found.borrow().get(name) {
            return known.clone();
        }
        let symbols = self.symbols.get_or_init(read).as_ref().map_err(Clone::clone)?;
        let found = find_symbol(symbols, name);
        self.found.borrow_mut().insert(name.to_owned(), found.clone());
        found
    }

    fn lacks(&self, _: &str) -> bool {
        true
    }

    fn has_code(&self) -> bool {
        true
    }
}

fn read_btf() -> Result<Vec<u8>, String> {
    const PATH: &str = "/sys/kernel/btf/vmlinux";
    match open(PATH).and_then(read_all) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Err(format!("this kernel has no BTF ({PATH}, CONFIG_DEBUG_INFO_BTF)"))
        }
        read => read.map_err(|error| format!("cannot read {PATH}: {error}")),
    }
}

fn open(path: impl AsRef<Path>) -> io::Result<File> {
    File::open(path)
}

fn read_all(from: impl Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    from.take(BYTES_MAX + 1).read_to_end(&mut bytes)?;
    match bytes.len() as u64 > BYTES_MAX {
        true => Err(io::Error::other("it has more than 256 MiB")),
        false => Ok(bytes),
    }
}

/// The options that are set, from where this kernel or its distribution keeps them.
fn read_config() -> Result<HashMap<String, String>, String> {
    let in_boot = format!("/boot/config-{}", rustix::system::uname().release().to_string_lossy());
    let compressed = open("/proc/config.gz").and_then(|file| read_all(MultiGzDecoder::new(file)));
    let bytes = compressed.or_else(|_| open(&in_boot).and_then(read_all)).map_err(|error| {
        format!("the configuration of this kernel is neither in /proc/config.gz nor in {in_boot}: {error}")
    })?;
    Ok(parse_config(&String::from_utf8_lossy(&bytes)))
}

/// The lines that set an option: `CONFIG_HZ=250`.
fn parse_config(text: &str) -> HashMap<String, String> {
    let set = text.lines().filter(|line| line.starts_with("CONFIG_"));
    set.filter_map(|line| line.split_once('='))
        .map(|(option, value)| (option.to_owned(), value.trim().to_owned()))
        .collect()
}

/// Looks for a symbol in lines such as `ffffffff81000000 T _stext`; the name of a module in brackets may follow.
fn find_symbol(symbols: &str, name: &str) -> Result<Option<KernelSymbol>, String> {
    let mut found: Option<KernelSymbol> = None;
    for line in symbols.lines() {
        let mut words = line.split_ascii_whitespace();
        let (Some(address), Some(_), Some(symbol)) = (words.next(), words.next(), words.next()) else {
            continue;
        };
        if symbol != name {
            continue;
        }
        let Ok(address) = u64::from_str_radix(address, 16) else { continue };
        if address == 0 {
            return Err("/proc/kallsyms hides addresses from this process (kernel.kptr_restrict)".to_owned());
        }
        let module = words.next().map(|module| module.trim_matches(['[', ']']).to_owned());
        match &found {
            Some(other) if other.address != address => {
                return Err("there are several symbols of that name".to_owned());
            }
            _ => found = Some(KernelSymbol { address, module }),
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_those_that_are_set() {
        let text = "#\n# Automatically generated\nCONFIG_HZ=250\n# CONFIG_HZ_1000 is not set\nCONFIG_LSM=\"a=b,c\"\nCONFIG_X=y \n";
        let options = parse_config(text);
        let of = |option: &str| options.get(option).map(String::as_str);
        assert_eq!(of("CONFIG_HZ"), Some("250"));
        assert_eq!(of("CONFIG_HZ_1000"), None);
        assert_eq!(of("CONFIG_LSM"), Some("\"a=b,c\""));
        assert_eq!(of("CONFIG_X"), Some("y"));
    }

    #[test]
    fn symbols_are_found_by_their_whole_names() {
        let symbols = "ffffffff81000000 T _stext\nffffffff81000010 t twice\nffffffff81000020 t twice\n\
            ffffffffc0000000 t probe\t[driver]\n0000000000000000 T hidden\nnonsense\n";
        let symbol = |address, module: Option<&str>| {
            Ok(Some(KernelSymbol { address, module: module.map(str::to_owned) }))
        };
        assert_eq!(find_symbol(symbols, "_stext"), symbol(0xffff_ffff_8100_0000, None));
        assert_eq!(find_symbol(symbols, "probe"), symbol(0xffff_ffff_c000_0000, Some("driver")));
        assert_eq!(find_symbol(symbols, "_s"), Ok(None));
        assert!(find_symbol(symbols, "twice").is_err_and(|why| why.contains("several")));
        assert!(find_symbol(symbols, "hidden").is_err_and(|why| why.contains("kptr_restrict")));
    }
}
