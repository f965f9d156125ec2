//! What a kernel offers to programs.

use knobgate_bpf::{Features, Helper, KnobOwner, StructDef, helper_ids};

use crate::task_btf::kernel_structs;
use crate::{Namespaces, Profile};

impl Profile {
    /// What a program that is compiled for this kernel may use, if it is loaded for this hook and with all capabilities.
    ///
    /// ```
    /// use knobgate_hook::Profile;
    ///
    /// let features = "6.8".parse::<Profile>()?.features();
    /// assert!(features.set_retval && !features.set_new_value);
    /// # Ok::<(), knobgate_hook::UnknownProfile>(())
    /// ```
    pub fn features(&self) -> Features {
        Features {
            set_retval: self.retval_helpers,
            set_new_value: self.rewrites_are_applied,
            current_comm: self.has_helper(helper_ids::GET_CURRENT_COMM),
            current_uid_gid: self.has_helper(helper_ids::GET_CURRENT_UID_GID),
            uninit_stack: self.uninit_stack,
            variable_stack: self.variable_stack,
            long_jump: self.long_jump,
            bpf_loop: self.has_helper(helper_ids::LOOP),
            atomic_fetch: self.atomics,
            knob_owner: self.knob_owner(),
        }
    }

    /// With the offsets of the model, which no kernel has: a program with these is for the model alone. The namespace of the host
    /// is the default one.
    fn knob_owner(&self) -> Option<KnobOwner> {
        if !self.has_helper(helper_ids::PROBE_READ_KERNEL) {
            return None;
        }
        let at = |member| StructDef::find(kernel_structs(self), member).map(|(offset, _)| offset as i16);
        Some(KnobOwner {
            head: at("bpf_sysctl_kern.head")?,
            set: at("ctl_table_header.set")?,
            is_seen: at("ctl_table_set.is_seen")?,
            inum: i32::from(at("net.ns.inum")?) - i32::from(at("net.sysctls")?),
            host: Namespaces::default().net,
        })
    }

    /// Whether the address of a function can be loaded, for helpers that call it (`BPF_PSEUDO_FUNC`, which came with the
    /// first of these helpers).
    pub(crate) fn has_function_addresses(&self) -> bool {
        self.has_helper(helper_ids::FOR_EACH_MAP_ELEM)
    }

    /// Whether programs that are loaded for this hook can call the helper of this number. `false` for helpers that are not
    /// modelled.
    ///
    /// ```
    /// use knobgate_bpf::helper_ids;
    /// use knobgate_hook::Profile;
    ///
    /// let old = "5.10".parse::<Profile>()?;
    /// assert!(old.has_helper(helper_ids::STRTOL) && !old.has_helper(helper_ids::LOOP));
    /// # Ok::<(), knobgate_hook::UnknownProfile>(())
    /// ```
    pub fn has_helper(&self, id: u32) -> bool {
        match id {
            helper_ids::GET_RETVAL | helper_ids::SET_RETVAL => self.retval_helpers,
            _ => {
                let modelled = Helper::find(id).filter(|helper| helper.proto.is_some());
                modelled.is_some_and(|helper| helper.since <= self.version)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_kernel_has_everything_and_the_oldest_with_links_the_baseline() {
        let features = |name: &str| {
            let features = name.parse::<Profile>().expect("a profile").features();
            assert!(features.knob_owner.is_some(), "{name}");
            Features { knob_owner: None, ..features }
        };
        assert_eq!("5.4".parse::<Profile>().map(|old| old.features().knob_owner), Ok(None));
        assert_eq!(features("7.2"), Features::ALL);
        assert_eq!(features("6.18"), Features::ALL);
        assert_eq!(features("5.10"), Features::BASELINE);
        let with_atomics = Features { variable_stack: true, atomic_fetch: true, ..Features::BASELINE };
        assert_eq!(features("5.15"), with_atomics);
        assert_eq!(features("6.8"), Features { set_new_value: false, ..Features::ALL });
    }
}
