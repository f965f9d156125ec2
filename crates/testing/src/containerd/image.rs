//! Images made from the machine's static busybox.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{fs, io};

use sha2::{Digest, Sha256};

use crate::engines::program;

/// Writes a tar archive with an OCI layout: images with these names and entry points, of one layer.
pub(super) fn archive(files: &Path, images: &[(&str, &[&str])]) -> io::Result<PathBuf> {
    let (root, layout) = (files.join("image/root"), files.join("image/layout"));
    let blobs = layout.join("blobs/sha256");
    fs::create_dir_all(root.join("bin"))?;
    fs::create_dir_all(&blobs)?;
    fs::copy(program("busybox").ok_or(io::ErrorKind::NotFound)?, root.join("bin/busybox"))?;
    let layer = files.join("image/layer.tar");
    tar(&root, &layer)?;
    let layer = blob(&blobs, &fs::read(layer)?)?;
    let architecture = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
    let manifests =
        images.iter().map(|(name, entry_point)| {
            let diff_id = layer.digest.as_str();
            // Debug quotes as JSON does, as long as the text is plain ASCII.
            let config = blob(&blobs, format!(
            r#"{{"architecture":"{architecture}","os":"linux","config":{{"Entrypoint":{entry_point:?}}},
                "rootfs":{{"type":"layers","diff_ids":["{diff_id}"]}}}}"#
        ).as_bytes())?;
            let (config, layer) = (
                config.descriptor("application/vnd.oci.image.config.v1+json", ""),
                layer.descriptor("application/vnd.oci.image.layer.v1.tar", ""),
            );
            let manifest = blob(
                &blobs,
                format!(
                    r#"{{"schemaVersion":2,"mediaType":"{MANIFEST}","config":{config},"layers":[{layer}]}}"#
                )
                .as_bytes(),
            )?;
            Ok(manifest
                .descriptor(MANIFEST, &format!(r#","annotations":{{"io.containerd.image.name":"{name}"}}"#)))
        });
    let manifests = manifests.collect::<io::Result<Vec<_>>>()?.join(",");
    fs::write(layout.join("index.json"), format!(r#"{{"schemaVersion":2,"manifests":[{manifests}]}}"#))?;
    fs::write(layout.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#)?;
    let archive = files.join("image/images.tar");
    tar(&layout, &archive)?;
    Ok(archive)
}

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

struct Blob {
    digest: String,
    size: usize,
}

impl Blob {
    fn descriptor(&self, media_type: &str, more: &str) -> String {
        let Self { digest, size } = self;
        format!(r#"{{"mediaType":"{media_type}","digest":"{digest}","size":{size}{more}}}"#)
    }
}

fn blob(blobs: &Path, contents: &[u8]) -> io::Result<Blob> {
    let hash: String = Sha256::digest(contents).iter().map(|byte| format!("{byte:02x}")).collect();
    fs::write(blobs.join(&hash), contents)?;
    Ok(Blob { digest: format!("sha256:{hash}"), size: contents.len() })
}

fn tar(directory: &Path, archive: &Path) -> io::Result<()> {
    let mut tar = Command::new("tar");
    tar.arg("--create").arg("--file").arg(archive).arg("--directory").arg(directory).arg(".");
    let output = tar.output()?;
    if output.status.success() {
        return Ok(());
    }
    Err(io::Error::other(format!("tar: {}", String::from_utf8_lossy(&output.stderr))))
}
