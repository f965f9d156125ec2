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

/// What has the name of a declaration in the kernel's BTF.
struct Found {
    btf_id: u32,
    /// Whether it has the declared type or prototype.
    fits: bool,
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
            true => self.find(types, env, VAR, name).and_then(|found| match found {
                Some(Found { btf_id, fits: true }) => Ok(Some(Imm64::Variable { btf_id, btf_fd: 0 })),
                Some(_) => Err(other_type(env)),
                None => Ok(None),
            }),
        };
        let absent = |why: String| format!("the variable {name} of the kernel (ksym): {why}");
        let zero = Address::Known(Imm64::Value(0));
        match found {
            Ok(Some(found)) => Ok(Address::Known(found)),
            Ok(None) if self.is_weak => Ok(zero),
            // Without BTF there are none. One with another type is a mistake, and so is a name that several symbols have.
            Err(_) if self.is_weak && !is_typeless && env.types().is_err() => Ok(zero),
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
            // The BTF of a whole kernel has all its functions.
            let has_it = || match env.structs {
                Some(_) => {
                    self.find(types, env, FUNC, name).map(|found| found.is_some_and(|found| found.fits))
                }
                None => Ok(true),
            };
            let is_absent = self.is_weak && (env.kernel.lacks(name) || !has_it()?);
            return Ok(if is_absent { Kfunc::Missing } else { Kfunc::NotModelled });
        }
        let absent = |why: String| format!("{name} is a function of the kernel (kfunc): {why}");
        match self.find(types, env, FUNC, name) {
            Ok(Some(Found { btf_id, fits: true })) => Ok(Kfunc::Found(btf_id)),
            // A weak declaration with another prototype is one of another kernel.
            Ok(_) if self.is_weak => Ok(Kfunc::Missing),
            Ok(Some(_)) => Err(absent(other_type(env))),
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

    /// What has its name in the kernel's BTF.
    fn find(
        &self,
        types: &Types<'_>,
        env: &LinkEnv<'_>,
        kind: u32,
        name: &str,
    ) -> Result<Option<Found>, String> {
        let kernel = env.types()?;
        let target = kernel.types();
        let mut found = None;
        for (btf_id, of) in kernel.named(essential_name(name)) {
            env.charge(1)?;
            if of.kind == kind && target.name(of) == name {
                found = Some((btf_id, of));
                break;
            }
        }
        let Some((btf_id, of)) = found else { return Ok(None) };
        let pair = TypePair { local: types, target: &target, budget: &env.budget };
        Ok(Some(Found { btf_id, fits: pair.types_fit(self.of_type, of.payload)? }))
    }
}

fn other_type(env: &LinkEnv<'_>) -> String {
    format!("{} has it with another type", env.kernel)
}

#[cfg(test)]
mod tests {
    use super::super::target_kernel::tests::Kernel;
    use super::*;
    use crate::btf::{self, Strings, blob};
    use crate::btf_types::{FUNC_PROTO, INT};

    /// The types of `int f(int, …)` with so many parameters, of which the last is the function.
    fn function(parameters: u32) -> (Vec<u8>, u32) {
        let (mut types, mut strings) = (btf::Types::new(), Strings::new());
        let int = types.add(strings.add("int"), INT, 0, 4, &[32]);
        let words: Vec<u32> = (0..parameters).flat_map(|_| [0, int]).collect();
        let proto = types.add(0, FUNC_PROTO, parameters, int, &words);
        types.add(strings.add("f"), FUNC, 1, proto, &[]);
        (blob(&types, &strings), proto)
    }

    /// What a declaration of `f` with one parameter becomes, on a kernel where it has so many.
    fn linked(parameters: u32, is_weak: bool) -> Result<Option<u32>, String> {
        let (bytes, of_type) = function(1);
        let types = Types::read(&bytes).expect("BTF");
        let kernel = Kernel { btf: function(parameters).0, is_model: false, structs: None };
        let name = "f___one".to_owned();
        let declared = Extern { name, is_weak, is_option: false, is_function: true, of_type };
        declared.kfunc(&types, &LinkEnv::new(&kernel)).map(|found| match found {
            Kfunc::Found(id) => Some(id),
            Kfunc::Missing => None,
            Kfunc::NotModelled => panic!("it is a kernel"),
        })
    }

    #[test]
    fn a_weak_function_with_another_prototype_is_absent() {
        assert_eq!(linked(1, true), Ok(Some(3)));
        assert_eq!(linked(1, false), Ok(Some(3)));
        assert_eq!(linked(2, true), Ok(None));
        let expected = "f is a function of the kernel (kfunc): the kernel has it with another type";
        assert_eq!(linked(2, false), Err(expected.to_owned()));
    }
}
