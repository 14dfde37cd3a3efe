#!/bin/bash
# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
#
# FAI's base step, from an archive that all images of one suite share: made once by mmdebstrap, then only unpacked.
# BASE_ARCHIVE (a name with a hash of what it is made of), BASE_PACKAGES, SUITE and MIRROR come from class/BASE.var.
base_archive=$LEASEHOLD_BASE_DIR/$BASE_ARCHIVE.tar

if [ ! -s "$base_archive" ]; then
    echo "Making the base archive $BASE_ARCHIVE of $SUITE from $MIRROR"
    base_partial=$base_archive.tmp$(date +%s%N)
    if mmdebstrap --mode=root --variant=minbase --format=tar --include="$BASE_PACKAGES" \
        --aptopt='Acquire::Languages "none"' --aptopt='APT::Install-Recommends "false"' \
        --dpkgopt="$FAI/base/dpkg.cfg" --essential-hook="cp -rT '$FAI/base/root' \"\$1\"" \
        "$SUITE" "$base_partial" - < "$FAI/files/etc/apt/sources.list/BASE"
    then
        mv "$base_partial" "$base_archive"
    else
        rm -f "$base_partial"
        die "mmdebstrap could not make the base system from $MIRROR: see above"
    fi
fi
echo "Unpacking the base archive $BASE_ARCHIVE"
tar -xp --numeric-owner --xattrs --xattrs-include='*' -C "$FAI_ROOT" -f "$base_archive" || die "cannot unpack $base_archive"
cp "$LOGDIR/fstab" "$FAI_ROOT/etc/fstab"
# From here on the loop device goes away by itself when its last user does, however this build may end.
losetup -d "/dev/$disklist"
skiptask extrbase
