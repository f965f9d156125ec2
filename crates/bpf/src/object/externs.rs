//! What a program refers to that is not in its object: options of the kernel (kconfig), and its functions (kfuncs) and variables
//! (ksyms).

use std::collections::HashMap;

use super::core_compat::{TypePair, essential_name};
use super::elf::Elf;
use super::kconfig::KCONFIG;
use super::link_env::LinkEnv;
use crate::Imm64;
use crate::btf_types::{FUNC, Types, VAR, VOID};

/// The section that declares functions and variables of the kernel.
const KSYMS: &str = ".ksyms";

/// A declaration.
#[derive(Debug, Clone)]
pub(super) struct Extern {
    pub(super) name: String,
    /// Whether the program works without.
    pub(super) is_weak: bool,
    /// Whether it is an option of the kernel's configuration.
    pub(super) is_option: bool,
    pub(super) is_function: bool,
    /// The type of a variable, or the prototype of a function.
    pub(super) of_type: u32,
}

/// What a function of the kernel becomes.
pub(super) enum Kfunc {
    /// Its id in the kernel's BTF.
    Found(u32),
    /// The kernel has none, and the program works without.
    Missing,
    /// The kernel is a model, which has no functions, and whether the kernel has it is unknown.
    NotModelled,
}

/// What the address of a function or variable of the kernel becomes.
pub(super) enum Address {
    /// 0: the kernel has none, and the program works without.
    Known(Imm64),
    /// The kernel is a model, and whether the kernel has it is unknown.
    NotModelled,
}

/// The declarations of an object.
pub(super) fn read(elf: &Elf<'_>, types: &Types<'_>) -> Vec<Extern> {
    let symbols = elf.symbols.iter().filter(|symbol| symbol.section.is_none() && !symbol.name.is_empty());
    let symbols: HashMap<&str, bool> = symbols.map(|symbol| (symbol.name, symbol.is_weak)).collect();
    let declared = |section: &'static str| {
        types.section_entries(section).filter_map(move |of| {
            const EXTERN: u32 = 2;
            let is_extern = matches!(of.kind, VAR | FUNC) && of.linkage() == EXTERN;
            is_extern.then(|| (types.name(of), section == KCONFIG, of.kind == FUNC, of.payload))
        })
    };
    let all = declared(KCONFIG).chain(declared(KSYMS));
    all.filter_map(|(name, is_option, is_function, of_type)| {
        let is_weak = *symbols.get(name)?;
        Some(Extern { name: name.to_owned(), is_weak, is_option, is_function, of_type })
    })
    .collect()
}

impl Extern {
    /// What the address of a function or variable of the kernel becomes.
    ///
    /// # Errors
    ///
    /// The kernel has none.
    pub(super) fn address(&self, types: &Types<'_>, env: &LinkEnv<'_>) -> Result<Address, String> {
        if self.is_function {
            return Ok(match self.kfunc(types, env)? {
                Kfunc::Found(btf_id) => Address::Known(Imm64::Variable { btf_id, btf_fd: 0 }),
                Kfunc::Missing => Address::Known(Imm64::Value(0)),
                Kfunc::NotModelled => Address::NotModelled,
            });
        }
        let name = &self.name;
        let is_typeless = types.stripped(self.of_type).is_some_and(|(_, of)| of.kind == VOID);
        let found = match env.kernel.has_code() {
            false if self.is_weak && env.kernel.lacks(name) => Ok(None),
            false => return Ok(Address::NotModelled),
            true if is_typeless => {
                env.kernel.symbol(name).map(|found| found.map(|symbol| Imm64::Value(symbol.address)))
            }
            true => self
                .find(types, env, VAR, name)
                .map(|found| found.map(|btf_id| Imm64::Variable { btf_id, btf_fd: 0 })),
        };
        let absent = |why: String| format!("the variable {name} of the kernel (ksym): {why}");
        let zero = Address::Known(Imm64::Value(0));
        match found {
            Ok(Some(found)) => Ok(Address::Known(found)),
            Ok(None) if self.is_weak => Ok(zero),
            // Without BTF or symbols there are none; one with another type is a mistake.
            Err(_) if self.is_weak && (is_typeless || env.types().is_err()) => Ok(zero),
            Ok(None) if is_typeless => Err(absent(format!("{} has no such symbol", env.kernel))),
            Ok(None) => Err(absent(self.absence(env, "its BTF has no such variable"))),
            Err(why) => Err(absent(why)),
        }
    }

    /// What a function of the kernel becomes when it is called.
    ///
    /// # Errors
    ///
    /// The kernel has none, but the program needs it.
    pub(super) fn kfunc(&self, types: &Types<'_>, env: &LinkEnv<'_>) -> Result<Kfunc, String> {
        let name = essential_name(&self.name);
        if !env.kernel.has_code() {
            let is_absent = self.is_weak && env.kernel.lacks(name);
            return Ok(if is_absent { Kfunc::Missing } else { Kfunc::NotModelled });
        }
        let absent = |why: String| format!("{name} is a function of the kernel (kfunc): {why}");
        match self.find(types, env, FUNC, name) {
            Ok(Some(id)) => Ok(Kfunc::Found(id)),
            Ok(None) if self.is_weak => Ok(Kfunc::Missing),
            Err(_) if self.is_weak && env.types().is_err() => Ok(Kfunc::Missing),
            Ok(None) => Err(absent(self.absence(env, "its BTF has no such function"))),
            Err(why) => Err(absent(why)),
        }
    }

    /// Why the kernel's BTF does not have it.
    fn absence(&self, env: &LinkEnv<'_>, otherwise: &str) -> String {
        let symbol = env.kernel.symbol(essential_name(&self.name)).ok().flatten();
        match symbol.and_then(|symbol| symbol.module) {
            Some(module) => {
                format!("it is in the module {module}, and only those of the kernel itself can be used")
            }
            None => format!("{} does not have it: {otherwise}", env.kernel),
        }
    }

    /// Its id in the kernel's BTF.
    fn find(
        &self,
        types: &Types<'_>,
        env: &LinkEnv<'_>,
        kind: u32,
        name: &str,
    ) -> Result<Option<u32>, String> {
        let target = env.types()?;
        let mut named = target.named(essential_name(name));
        let found = named.find(|(_, of)| of.kind == kind && target.types.name(*of) == name);
        let Some((id, of)) = found else { return Ok(None) };
        let pair = TypePair { local: types, target: &target.types, budget: &env.budget };
        match pair.types_fit(self.of_type, of.payload)? {
            true => Ok(Some(id)),
            false => Err(format!("{} has it with another type", env.kernel)),
        }
    }
}
