//! Unpacks a source distribution: the same files, modes and times for every user and machine.

use std::collections::BTreeMap;
use std::fs::{self, File, Permissions};
use std::io::{BufReader, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path, PathBuf};

use anyhow::{Context, Result, bail};
use filetime::FileTime;

use zipwright_bundle::{Archive, EntryKind, inside};
use zipwright_store::fs::{EXECUTABLE_MODE, FILE_MODE, create_dir_all, open};

/// 1980-01-01T00:00:00Z: the earliest time in the zip format, and so in a back end.
pub(super) const EARLIEST: i64 = 315_532_800;

/// Largest unpacked size of a source distribution in bytes: far above any real one, and below the
/// size of a disk.
const SIZE_LIMIT: u64 = 8 << 30;

enum Kind {
    File { executable: bool },
    Link(PathBuf),
}

struct Item {
    kind: Kind,
    time: i64,
}

/// Unpacks the archive into `to`, an empty folder. Returns the folder of the project below it, and
/// the time of the newest member, which becomes the build's `SOURCE_DATE_EPOCH`.
pub(crate) fn unpack(archive: &Path, to: &Path) -> Result<(PathBuf, i64)> {
    let name = archive.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let failed = || format!("could not unpack `{name}`");
    let items = if name.ends_with(".zip") {
        unzip(archive, to).with_context(failed)?
    } else if name.ends_with(".tar.gz") || name.ends_with(".tgz") || name.ends_with(".tar") {
        untar(archive, to).with_context(failed)?
    } else {
        bail!(
            "`{name}` has an unsupported format: only .tar.gz, .tgz, \
             .tar and .zip can be built from"
        );
    };
    let newest = items.values().map(|item| item.time).max().unwrap_or(EARLIEST);
    let epoch = newest.max(EARLIEST);
    settle(&items, to, epoch).with_context(failed)?;
    Ok((top(&items), epoch))
}

fn untar(archive: &Path, to: &Path) -> Result<BTreeMap<PathBuf, Item>> {
    let mut file = BufReader::new(open(archive)?);
    let is_gzip = std::io::BufRead::fill_buf(&mut file)?.starts_with(&[0x1f, 0x8b]);
    let reader: Box<dyn Read> =
        if is_gzip { Box::new(flate2::read::MultiGzDecoder::new(file)) } else { Box::new(file) };
    let mut items: BTreeMap<PathBuf, Item> = BTreeMap::new();
    let mut left = SIZE_LIMIT;
    for member in tar::Archive::new(reader).entries()? {
        let mut member = member?;
        let path = safe(&member.path()?)?;
        let kind = member.header().entry_type();
        let time = i64::try_from(member.header().mtime()?).unwrap_or(EARLIEST);
        if kind.is_symlink() {
            let target = member.link_name()?.unwrap_or_default().into_owned();
            items.insert(path, Item { kind: Kind::Link(target), time });
        } else if kind.is_hard_link() {
            let target = safe(&member.link_name()?.unwrap_or_default())?;
            let Some(Item { kind: Kind::File { executable }, .. }) = items.get(&target) else {
                bail!("`{}` is a broken link", path.display());
            };
            let kind = Kind::File { executable: *executable };
            create_dir_all(to.join(&path).parent().unwrap_or(to))?;
            fs::copy(to.join(&target), to.join(&path))?;
            items.insert(path, Item { kind, time });
        } else if kind.is_file() || kind.is_contiguous() || kind.is_gnu_sparse() {
            let executable = member.header().mode()? & 0o100 != 0;
            pour(&mut member, &to.join(&path), &mut left)?;
            items.insert(path, Item { kind: Kind::File { executable }, time });
        }
    }
    Ok(items)
}

fn unzip(archive: &Path, to: &Path) -> Result<BTreeMap<PathBuf, Item>> {
    let mut archive = Archive::open(BufReader::new(open(archive)?))?;
    let mut items = BTreeMap::new();
    let mut left = SIZE_LIMIT;
    for listed in archive.list()? {
        if listed.kind == EntryKind::Folder {
            continue;
        }
        let path = safe(Path::new(&listed.name))?;
        let executable = listed.is_executable();
        let time = listed.time.unwrap_or(EARLIEST);
        pour(&mut archive.content(listed.index)?, &to.join(&path), &mut left)?;
        items.insert(path, Item { kind: Kind::File { executable }, time });
    }
    Ok(items)
}

fn pour(from: &mut dyn Read, place: &Path, left: &mut u64) -> Result<()> {
    create_dir_all(place.parent().unwrap_or(place))?;
    let mut file = File::create(place)?;
    let copied = std::io::copy(&mut from.take(*left + 1), &mut file)?;
    let Some(rest) = left.checked_sub(copied) else { bail!("it is larger than 8 GiB") };
    *left = rest;
    Ok(())
}

/// Returns a member's path; fails if it leaves the folder that it is unpacked into.
fn safe(path: &Path) -> Result<PathBuf> {
    inside(path).with_context(|| format!("its member `{}` would leave the folder", path.display()))
}

/// Makes the links last, so that nothing is written through one; then sets modes and times.
fn settle(items: &BTreeMap<PathBuf, Item>, to: &Path, epoch: i64) -> Result<()> {
    refuse_below_links(items)?;
    for (path, item) in items {
        let place = to.join(path);
        match &item.kind {
            Kind::Link(target) => {
                let beside = path.parent().unwrap_or(Path::new(""));
                if destination(items, beside, target).is_none() {
                    bail!("its link `{}` leads out of the folder", path.display());
                }
                create_dir_all(place.parent().unwrap_or(to))?;
                std::os::unix::fs::symlink(target, &place)?;
            }
            Kind::File { executable } => {
                let mode = if *executable { EXECUTABLE_MODE } else { FILE_MODE };
                fs::set_permissions(&place, Permissions::from_mode(mode))?;
                let time = FileTime::from_unix_time(item.time.min(epoch), 0);
                filetime::set_file_times(&place, time, time)?;
            }
        }
    }
    let mut folders: Vec<PathBuf> = walkdir::WalkDir::new(to)
        .into_iter()
        .flatten()
        .filter(|entry| entry.file_type().is_dir())
        .map(walkdir::DirEntry::into_path)
        .collect();
    folders.sort();
    for folder in folders.iter().rev() {
        fs::set_permissions(folder, Permissions::from_mode(EXECUTABLE_MODE))?;
        let time = FileTime::from_unix_time(epoch, 0);
        filetime::set_file_times(folder, time, time)?;
    }
    Ok(())
}

/// Largest number of links on the way to a file, the same as the kernel's.
const LINKS: usize = 40;

/// Returns where a link to `target` from the folder `beside` leads, below the top and through other
/// links; `None` if that is outside.
fn destination(items: &BTreeMap<PathBuf, Item>, beside: &Path, target: &Path) -> Option<PathBuf> {
    let mut place = beside.to_path_buf();
    let mut waiting: Vec<PathBuf> = reversed_parts(target);
    let mut links = 0;
    while let Some(part) = waiting.pop() {
        match part.components().next()? {
            Component::CurDir => continue,
            Component::ParentDir if place.pop() => continue,
            Component::Normal(name) => place.push(name),
            _ => return None,
        }
        if let Some(Item { kind: Kind::Link(target), .. }) = items.get(&place) {
            links += 1;
            if links > LINKS {
                return None;
            }
            place.pop();
            waiting.extend(reversed_parts(target));
        }
    }
    Some(place)
}

fn reversed_parts(path: &Path) -> Vec<PathBuf> {
    path.components().rev().map(|part| PathBuf::from(part.as_os_str())).collect()
}

/// Fails if a member's path goes through a link: it would be written elsewhere.
fn refuse_below_links(items: &BTreeMap<PathBuf, Item>) -> Result<()> {
    let is_link = |path: &&Path| matches!(items.get(*path), Some(Item { kind: Kind::Link(_), .. }));
    for path in items.keys() {
        if let Some(link) = path.ancestors().skip(1).find(is_link) {
            bail!("its member `{}` is below the link `{}`", path.display(), link.display());
        }
    }
    Ok(())
}

/// Returns the single top folder of the archive, as source distributions have it.
fn top(items: &BTreeMap<PathBuf, Item>) -> PathBuf {
    let mut firsts = items.keys().map(|path| path.components().next());
    let first = firsts.next().flatten().map(|part| PathBuf::from(part.as_os_str()));
    let all = first.clone().is_some_and(|first| items.keys().all(|path| path.starts_with(&first)));
    let is_folder = first.as_ref().is_some_and(|first| !items.contains_key(first));
    first.filter(|_| all && is_folder).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    fn tar_of(folder: &Path, members: &[(&str, u32, u64)]) -> PathBuf {
        let place = folder.join("p-1.tar.gz");
        let file = File::create(&place).unwrap();
        let mut tar = tar::Builder::new(flate2::write::GzEncoder::new(file, Default::default()));
        for (name, mode, time) in members {
            let mut header = tar::Header::new_gnu();
            header.as_gnu_mut().unwrap().name[..name.len()].copy_from_slice(name.as_bytes());
            header.set_size(1);
            header.set_mode(*mode);
            header.set_mtime(*time);
            header.set_cksum();
            tar.append(&header, b"x".as_slice()).unwrap();
        }
        tar.into_inner().unwrap().finish().unwrap();
        place
    }

    #[test]
    fn modes_and_times_are_brought_to_one_form() {
        let temp = tempfile::tempdir().unwrap();
        let members = [("p-1/a", 0o600, 400_000_000), ("p-1/b/c", 0o777, 5)];
        let archive = tar_of(temp.path(), &members);
        let to = temp.path().join("to");
        fs::create_dir(&to).unwrap();
        let (top, epoch) = unpack(&archive, &to).unwrap();
        assert_eq!((top, epoch), ("p-1".into(), 400_000_000));
        let meta = |path: &str| fs::metadata(to.join(path)).unwrap();
        assert_eq!((meta("p-1/a").mode() & 0o7777, meta("p-1/a").mtime()), (0o644, 400_000_000));
        assert_eq!((meta("p-1/b/c").mode() & 0o7777, meta("p-1/b/c").mtime()), (0o755, 5));
        assert_eq!((meta("p-1/b").mode() & 0o7777, meta("p-1/b").mtime()), (0o755, epoch));
    }

    #[test]
    fn nothing_is_written_outside() {
        let temp = tempfile::tempdir().unwrap();
        let to = temp.path().join("to");
        fs::create_dir(&to).unwrap();
        for name in ["p-1/../../evil", "/evil"] {
            let archive = tar_of(temp.path(), &[(name, 0o644, 1)]);
            let error = format!("{:#}", unpack(&archive, &to).unwrap_err());
            assert!(error.contains("would leave the folder"), "{error}");
        }
        assert!(!temp.path().join("evil").exists());
    }

    fn links(links: &[(&str, &str)]) -> BTreeMap<PathBuf, Item> {
        let item = |target: &str| Item { kind: Kind::Link(target.into()), time: EARLIEST };
        links.iter().map(|(path, target)| (PathBuf::from(path), item(target))).collect()
    }

    #[test]
    fn links_are_judged_by_where_they_lead() {
        let items = links(&[
            ("p/up", "a/b/c/.."),
            ("p/a/b/c", "../../.."),
            ("p/near", "./q/../r"),
            ("p/loop", "loop"),
            ("p/through", "near/x"),
        ]);
        let leads = |from: &str, to: &str| destination(&items, Path::new(from), Path::new(to));
        for (from, to, place) in [
            ("p", "q/../../p/x", "p/x"),
            ("p", "near", "p/r"),
            ("p", "through", "p/r/x"),
            ("p/a/b", "c", ""),
            ("p", "a/b/../x", "p/a/x"),
        ] {
            assert_eq!(leads(from, to), Some(place.into()), "{from} {to}");
        }
        // Compared as text, these would stay inside.
        for (from, to) in [
            ("p", "a/b/c/../x"),
            ("p", "up"),
            ("p", "loop"),
            ("p/q", "../../../r"),
            ("p/q", "/etc/passwd"),
        ] {
            assert_eq!(leads(from, to), None, "{from} {to}");
        }
        assert!(refuse_below_links(&items).is_ok());
        let error = refuse_below_links(&links(&[("p/a", "."), ("p/a/b/c", ".")])).unwrap_err();
        assert_eq!(error.to_string(), "its member `p/a/b/c` is below the link `p/a`");
    }
}
