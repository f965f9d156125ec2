//! Offsets in kernel structures, from the kernel's BTF. That is long, so they are kept until the next boot.

/// Defines a struct of offsets and sizes, all `u32`, and how they are found in BTF and kept in a file of `/run/knobgate`. Increment
/// its format with every change to the fields.
macro_rules! cached_layout {
    (
        $(#[$doc:meta])* $vis:vis struct $name:ident in $file:literal, format $format:literal;
        $($(#[$field_doc:meta])* $field:ident = $find:ident $what:literal,)*
    ) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        $vis struct $name {
            $($(#[$field_doc])* $vis $field: u32,)*
        }

        impl $name {
            /// From the BTF of a kernel.
            $vis fn of(btf: &[u8]) -> Result<Self, knobgate_bpf::LayoutError> {
                let layouts = knobgate_bpf::StructLayouts::read(btf)?;
                Ok(Self { $($field: layouts.$find($what)?,)* })
            }

            /// What was found since boot. The BTF is long, and is read one page at a time.
            $vis fn cached() -> Option<Self> {
                Self::parse(&crate::machine::boot_id().ok()?, &crate::boot_cache::read($file)?)
            }

            $vis fn store(&self) {
                if let Ok(boot_id) = crate::machine::boot_id() {
                    crate::boot_cache::write($file, &self.render(&boot_id));
                }
            }

            fn head(boot_id: &str) -> String {
                format!("format {}\nboot {boot_id}\n", $format)
            }

            fn render(&self, boot_id: &str) -> String {
                let mut text = Self::head(boot_id);
                $(text.push_str(&format!("{} {}\n", $what, self.$field));)*
                text
            }

            /// Has a different number in each field.
            #[cfg(test)]
            fn example() -> Self {
                let mut numbers = 1..;
                Self { $($field: numbers.next().unwrap_or_else(|| panic!("no number for {}", $what)),)* }
            }

            fn parse(boot_id: &str, text: &str) -> Option<Self> {
                let mut lines = text.strip_prefix(&*Self::head(boot_id))?.lines();
                Some(Self { $($field: lines.next()?.strip_prefix(concat!($what, " "))?.parse().ok()?,)* })
            }
        }
    };
}

pub(crate) use cached_layout;
