//! From an archive that somebody else made, who may not mean well.

use std::fs::File;
use std::io::{BufRead, BufReader, Cursor, Read, Seek, Write};
use std::path::Path;

use flate2::Compression;
use flate2::bufread::MultiGzDecoder;
use flate2::write::GzEncoder;
use tar::{Archive, Builder, Entry, EntryType, Header};

use super::{BUNDLE_BYTES_MAX, Bundle, BundleEntry, BundleError, ENTRIES_MAX, ENTRY_BYTES_MAX, RATIO_MAX};
use crate::printable::one_line;

/// Small archives compress well without meaning harm: the ratio counts from here.
const RATIO_FROM: u64 = 4 * 1024 * 1024;
/// Headers and padding of each entry come on top of the contents.
pub(in crate::pack) const ARCHIVE_BYTES_MAX: u64 = BUNDLE_BYTES_MAX + 4 * 512 * ENTRIES_MAX as u64;

const GZIP: &[u8] = &[0x1f, 0x8b];
/// Where a tar header has `ustar`, and its checksum has just been.
const TAR_MAGIC: std::ops::Range<usize> = 257..262;

impl Bundle {
    /// The files of a `.tar` or `.tar.gz`. A single folder around all of them is taken off.
    pub fn from_archive(path: &Path) -> Result<Self, BundleError> {
        let failed = |source| BundleError::Read { path: path.to_owned(), source };
        let file = File::open(path).map_err(failed)?;
        let size = file.metadata().map_err(failed)?.len();
        read_any(BufReader::new(file), size, path)
    }

    /// The files of an archive that is in memory; `name` says in errors where it came from.
    pub fn from_archive_bytes(bytes: &[u8], name: &Path) -> Result<Self, BundleError> {
        read_any(Cursor::new(bytes), bytes.len() as u64, name)
    }

    /// An archive of the files: what is read from it again is the same bundle.
    pub fn to_archive(&self) -> std::io::Result<Vec<u8>> {
        let compressed = self.write(GzEncoder::new(Vec::new(), Compression::fast()))?.finish()?;
        // What shrinks too well would be taken for a bomb.
        if self.bytes / RATIO_MAX < compressed.len() as u64 / 2 {
            return Ok(compressed);
        }
        self.write(Vec::new())
    }

    fn write<W: Write>(&self, writer: W) -> std::io::Result<W> {
        let mut builder = Builder::new(writer);
        for (path, BundleEntry { bytes, executable }) in self.iter() {
            let mut header = Header::new_gnu();
            header.set_size(bytes.len() as u64);
            header.set_mode(if *executable { 0o755 } else { 0o644 });
            builder.append_data(&mut header, path, bytes.as_ref())?;
        }
        builder.into_inner()
    }
}

fn read_any(mut reader: impl BufRead + Seek, size: u64, path: &Path) -> Result<Bundle, BundleError> {
    let failed = |source| BundleError::Read { path: path.to_owned(), source };
    let mut head = Vec::new();
    reader.by_ref().take(512).read_to_end(&mut head).map_err(failed)?;
    reader.rewind().map_err(failed)?;
    if head.starts_with(GZIP) {
        let limit = size.saturating_mul(RATIO_MAX).clamp(RATIO_FROM, ARCHIVE_BYTES_MAX);
        read(MultiGzDecoder::new(reader), limit, path)
    } else if head.get(TAR_MAGIC) == Some(b"ustar") {
        read(reader, ARCHIVE_BYTES_MAX, path)
    } else {
        Err(BundleError::NotAnArchive { path: path.to_owned() })
    }
}

fn read(reader: impl Read, limit: u64, archive: &Path) -> Result<Bundle, BundleError> {
    // One byte more than allowed tells a full archive from one that was cut off here.
    let mut archive_reader = Archive::new(reader.take(limit + 1));
    let result = read_entries(&mut archive_reader, archive);
    let mut rest = archive_reader.into_inner();
    // The checksum of a compressed archive is at its very end.
    let drained = std::io::copy(&mut rest, &mut std::io::sink());
    if rest.limit() == 0 {
        return Err(if limit == ARCHIVE_BYTES_MAX {
            BundleError::TooLarge
        } else {
            BundleError::Bomb { path: archive.to_owned() }
        });
    }
    let bundle = result?;
    drained.map_err(|source| BundleError::Damaged { path: archive.to_owned(), source })?;
    without_common_folder(bundle)
}

fn read_entries(reader: &mut Archive<impl Read>, archive: &Path) -> Result<Bundle, BundleError> {
    let damaged = |source| BundleError::Damaged { path: archive.to_owned(), source };
    let mut bundle = Bundle::default();
    let mut folders = 0;
    for entry in reader.entries().map_err(damaged)? {
        let mut entry = entry.map_err(damaged)?;
        let kind = entry.header().entry_type();
        // What some tools put first to record where an archive came from.
        if kind.is_pax_global_extensions() {
            continue;
        }
        let path = match entry_path(&entry) {
            Ok(Some(path)) => path,
            Ok(None) => continue,
            Err(error @ BundleError::InvalidPath { .. }) => {
                let written = one_line(&String::from_utf8_lossy(&entry.path_bytes())).into_owned();
                bundle.note(&written, error)?;
                continue;
            }
            Err(error) => return Err(error),
        };
        let inserted = match kind {
            EntryType::Regular | EntryType::Continuous => {
                read_entry(&mut entry, &path, archive).and_then(|entry| bundle.insert(&path, entry))
            }
            EntryType::Directory => {
                folders += 1;
                if folders > ENTRIES_MAX {
                    return Err(BundleError::TooManyEntries);
                }
                super::path::check(&path)
            }
            EntryType::Symlink | EntryType::Link => Err(BundleError::Link { path: path.clone() }),
            _ => Err(BundleError::Special { path: path.clone() }),
        };
        inserted.or_else(|error| bundle.note(&one_line(&path), error))?;
    }
    Ok(bundle)
}

/// The path without what tools put around it; None for the folder that was archived itself.
fn entry_path(entry: &Entry<'_, impl Read>) -> Result<Option<String>, BundleError> {
    let bytes = entry.path_bytes();
    let Ok(written) = std::str::from_utf8(&bytes) else {
        let path = one_line(&String::from_utf8_lossy(&bytes)).into_owned();
        return Err(BundleError::InvalidPath { path, reason: "it is not UTF-8" });
    };
    let path = written.strip_prefix("./").unwrap_or(written);
    let path =
        if entry.header().entry_type().is_dir() { path.strip_suffix('/').unwrap_or(path) } else { path };
    if path.is_empty() || path == "." {
        return Ok(None);
    }
    Ok(Some(path.to_owned()))
}

fn read_entry(
    entry: &mut Entry<'_, impl Read>,
    path: &str,
    archive: &Path,
) -> Result<BundleEntry, BundleError> {
    let damaged = |source| BundleError::Damaged { path: archive.to_owned(), source };
    let size = entry.size();
    if size > ENTRY_BYTES_MAX {
        return Err(BundleError::EntryTooLarge { path: path.to_owned() });
    }
    let executable = entry.header().mode().map_err(damaged)? & 0o111 != 0;
    let mut bytes = Vec::new();
    entry.read_to_end(&mut bytes).map_err(damaged)?;
    if bytes.len() as u64 != size {
        return Err(damaged(std::io::ErrorKind::UnexpectedEof.into()));
    }
    Ok(BundleEntry { bytes: bytes.into(), executable })
}

/// `tar -czf pack.tgz my-pack` and the archives of code hosts put everything into one folder.
fn without_common_folder(bundle: Bundle) -> Result<Bundle, BundleError> {
    let Some(folder) = common_folder(&bundle) else { return Ok(bundle) };
    let prefix = folder.len() + 1;
    let Bundle { entries, mut unfit, .. } = bundle;
    for each in &mut unfit {
        if let Some(path) = each.path.strip_prefix(&folder).and_then(|path| path.strip_prefix('/')) {
            each.path = path.to_owned();
        }
    }
    let stripped = Bundle::from_files(entries.into_iter().map(|(path, entry)| {
        (path.get(prefix..).unwrap_or_default().to_owned(), entry.bytes, entry.executable)
    }))?;
    Ok(Bundle { unfit, ..stripped })
}

fn common_folder(bundle: &Bundle) -> Option<String> {
    let mut folders = bundle.iter().map(|(path, _)| path.split_once('/').map(|(folder, _)| folder));
    let first = folders.next()??;
    folders.all(|other| other == Some(first)).then(|| first.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        let long = format!("actions/{}/{}.sh", "a".repeat(90), "b".repeat(90));
        let same = vec![b'x'; 8 << 20];
        for files in [
            vec![("pack.yaml", b"ref: x".to_vec(), false), ("actions/run.sh", b"true".to_vec(), true)],
            vec![("pack.yaml", same, false)],
            vec![
                ("folder/only", Vec::new(), false),
                ("pack.yaml", Vec::new(), true),
                (&long, vec![0], false),
            ],
        ] {
            let bundle = Bundle::from_files(files).expect("a bundle");
            let archive = bundle.to_archive().expect("an archive");
            let again = Bundle::from_archive_bytes(&archive, Path::new("memory")).expect("the same");
            assert_eq!((&again, again.digest()), (&bundle, bundle.digest()));
        }
    }

    /// An entry as a hostile tool may write it: the path is put into the header byte by byte.
    struct Item {
        path: &'static [u8],
        kind: EntryType,
        bytes: &'static [u8],
        mode: u32,
    }

    fn file(path: &'static str, text: &'static str) -> Item {
        Item { path: path.as_bytes(), kind: EntryType::Regular, bytes: text.as_bytes(), mode: 0o644 }
    }

    fn special(path: &'static str, kind: EntryType) -> Item {
        Item { path: path.as_bytes(), kind, bytes: b"", mode: 0o755 }
    }

    fn tar(items: &[Item]) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        for Item { path, kind, bytes, mode } in items {
            let mut header = Header::new_gnu();
            header.as_mut_bytes()[..path.len()].copy_from_slice(path);
            header.set_entry_type(*kind);
            header.set_mode(*mode);
            header.set_size(bytes.len() as u64);
            if matches!(kind, EntryType::Symlink | EntryType::Link) {
                header.set_link_name("/etc/passwd").expect("a link");
            }
            header.set_cksum();
            builder.append(&header, *bytes).expect("an entry");
        }
        builder.into_inner().expect("an archive")
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(bytes).expect("compressed");
        encoder.finish().expect("compressed")
    }

    fn load(bytes: &[u8]) -> Result<Bundle, BundleError> {
        let mut file = tempfile::NamedTempFile::new().expect("a file");
        file.write_all(bytes).expect("written");
        Bundle::from_archive(file.path())
    }

    #[test]
    fn harmless_archives() {
        let script = Item { mode: 0o755, ..file("actions/run.sh", "x") };
        let plain = tar(&[file("pack.yaml", "x"), special("actions/", EntryType::Directory), script]);
        let expected = Bundle::from_files([
            ("pack.yaml", b"x".as_slice(), false),
            ("actions/run.sh", b"x".as_slice(), true),
        ])
        .expect("a bundle");
        let dotted = [
            special("./", EntryType::Directory),
            file("./pack.yaml", "x"),
            Item { mode: 0o755, ..file("./actions/run.sh", "x") },
        ];
        let nested = [
            Item {
                bytes: b"30 comment=0123456789abcdef\n\n\n",
                ..special("pax_global_header", EntryType::XGlobalHeader)
            },
            special("my-pack/", EntryType::Directory),
            file("my-pack/pack.yaml", "x"),
            Item { mode: 0o755, ..file("my-pack/actions/run.sh", "x") },
        ];
        for (name, bytes) in [
            ("tar", plain.clone()),
            ("tar.gz", gzip(&plain)),
            ("leading dots", tar(&dotted)),
            ("a folder around it", gzip(&tar(&nested))),
        ] {
            assert_eq!(load(&bytes).expect("a bundle"), expected, "{name}");
        }
    }

    #[test]
    fn hostile_archives() {
        let good = || file("pack.yaml", "x");
        for (item, expected) in [
            (file("/etc/passwd", "x"), "`/etc/passwd` can't be the path of a file in a pack: it is absolute"),
            (file("../x", "x"), "`../x` can't be the path of a file in a pack: it has a `..`"),
            (file("a/../../x", "x"), "`a/../../x` can't be the path of a file in a pack: it has a `..`"),
            (
                special("a/../../", EntryType::Directory),
                "`a/../..` can't be the path of a file in a pack: it has a `..`",
            ),
            (file("././x", "x"), "`./x` can't be the path of a file in a pack: it has a `.`"),
            (
                Item { path: b"\xff", ..good() },
                "`\u{fffd}` can't be the path of a file in a pack: it is not UTF-8",
            ),
            (file("a\nb", "x"), "`a\\nb` can't be the path of a file in a pack: it has control characters"),
            (special("x", EntryType::Symlink), "`x` is a link; packs hold files only"),
            (special("x", EntryType::Link), "`x` is a link; packs hold files only"),
            (special("x", EntryType::Char), "`x` is neither a file nor a folder"),
            (special("x", EntryType::Block), "`x` is neither a file nor a folder"),
            (special("x", EntryType::Fifo), "`x` is neither a file nor a folder"),
            (special("x", EntryType::new(b'9')), "`x` is neither a file nor a folder"),
            (file("pack.yaml", "y"), "`pack.yaml` is there twice"),
            (file("Pack.yaml", "y"), "`Pack.yaml` and `pack.yaml` differ only in case"),
            (file("pack.yaml/x", "y"), "`pack.yaml` is both a file and a folder"),
        ] {
            let bytes = tar(&[good(), item]);
            for bytes in [gzip(&bytes), bytes] {
                let bundle = load(&bytes).expect("a bundle");
                let paths: Vec<_> = bundle.iter().map(|(path, _)| path).collect();
                assert_eq!(paths, ["pack.yaml"], "{expected}");
                let messages: Vec<_> = bundle.unfit().iter().map(|unfit| unfit.message.as_str()).collect();
                assert_eq!(messages, [expected]);
            }
        }
    }

    #[test]
    fn bombs() {
        // 64 MiB of nothing, in an archive of 64 KiB.
        let zeros: &'static [u8] = Vec::leak(vec![0; 64 * 1024 * 1024]);
        let bytes = gzip(&tar(&[Item { bytes: zeros, ..file("zeros", "") }]));
        assert!((bytes.len() as u64) * RATIO_MAX < zeros.len() as u64, "{}", bytes.len());
        assert!(matches!(load(&bytes), Err(BundleError::Bomb { .. })));
        // After the end of the archive it counts as well.
        let mut padded = tar(&[file("pack.yaml", "x")]);
        padded.extend_from_slice(zeros);
        assert!(matches!(load(&gzip(&padded)), Err(BundleError::Bomb { .. })));
    }

    #[test]
    fn sizes_that_are_too_large() {
        let large: &'static [u8] = Vec::leak(vec![0; usize::try_from(ENTRY_BYTES_MAX).expect("a size") + 1]);
        let bytes = tar(&[
            file("mine/pack.yaml", "x"),
            Item { bytes: large, ..file("mine/large", "") },
            file("mine/after", "x"),
        ]);
        let bundle = load(&bytes).expect("a bundle");
        assert_eq!(bundle.iter().map(|(path, _)| path).collect::<Vec<_>>(), ["after", "pack.yaml"]);
        let [unfit] = bundle.unfit() else { panic!("{:?}", bundle.unfit()) };
        assert_eq!(
            (unfit.path.as_str(), unfit.message.as_str()),
            ("large", "`mine/large` has more than 64 MiB")
        );

        // A size that is not that of what follows.
        let mut bytes = tar(&[file("pack.yaml", "x")]);
        let mut header = Header::new_gnu();
        header.as_mut_bytes().copy_from_slice(&bytes[..512]);
        header.set_size(ENTRY_BYTES_MAX + 1);
        header.set_cksum();
        bytes[..512].copy_from_slice(header.as_bytes());
        assert!(matches!(load(&bytes), Err(BundleError::Damaged { .. })));

        let mut builder = tar::Builder::new(Vec::new());
        for number in 0..=ENTRIES_MAX {
            let mut header = Header::new_gnu();
            header.set_entry_type(EntryType::Directory);
            header.set_size(0);
            header.set_mode(0o755);
            builder.append_data(&mut header, format!("{number}/"), b"".as_slice()).expect("an entry");
        }
        let folders = builder.into_inner().expect("an archive");
        assert!(matches!(load(&folders), Err(BundleError::TooManyEntries)));
    }

    #[test]
    fn damaged_archives() {
        let text: &'static str = String::leak("0123456789".repeat(1_000));
        let plain = tar(&[file("pack.yaml", text)]);
        let mut wrong_checksum = plain.clone();
        wrong_checksum[0] ^= 1;
        let mut wrong_contents = gzip(&plain);
        let end = wrong_contents.len();
        wrong_contents[end - 6] ^= 1;
        for (name, bytes) in [
            ("cut in the contents", &plain[..2_000]),
            ("cut when compressed", &gzip(&plain)[..60]),
            ("a header that was changed", &wrong_checksum),
            ("contents that were changed", &wrong_contents),
        ] {
            let result = load(bytes);
            assert!(matches!(result, Err(BundleError::Damaged { .. })), "{name}: {result:?}");
        }
    }

    #[test]
    fn no_archives() {
        for bytes in [b"".as_slice(), b"PK\x03\x04", b"ref: x\n", &[0; 1_024]] {
            assert!(matches!(load(bytes), Err(BundleError::NotAnArchive { .. })), "{bytes:?}");
        }
        let missing = Path::new("/nonexistent/pack.tar");
        assert!(
            matches!(Bundle::from_archive(missing), Err(BundleError::Read { path, .. }) if path == missing)
        );
    }
}
