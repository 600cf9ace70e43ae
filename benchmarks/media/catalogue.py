"""The kinds of files that people have."""

from __future__ import annotations

from dataclasses import replace

from benchmarks.media.kinds import (
    FILM,
    H264,
    SOUND,
    TAGS,
    X265,
    Kind,
    Limits,
    animated_webp,
    by,
    cut_off,
    dolby_vision,
    endless_wav,
    film,
    halves,
    joined,
    listed,
    shown,
    slow_recorder,
    speech,
)

HDR = "zscale=t=linear:npl=203,format=gbrpf32le,zscale=p=bt2020:t=%s:m=bt2020nc:r=tv:npl=203,format=yuv420p10le"
"""Filters that make SDR pictures HDR, white at 203 cd/m2."""
WIDE = "zscale=p=bt2020:t=bt2020-10:m=bt2020nc:r=tv,format=yuv420p10le"
X265_SDR = f"-c:v libx265 -preset ultrafast -crf 10 -x265-params log-level=error -tag:v hvc1 {TAGS}"
FIELDS = "minterpolate=fps=50:mi_mode=mci:me_mode=bilat,tinterlace=interleave_top,setfield=tff"
UNMARKED = (
    "minterpolate=fps=50:mi_mode=mci:me_mode=bilat,scale=576:576:flags=bicubic,tinterlace=interleave_%s,setfield=prog"
)
UNTAGGED = "setparams=colorspace=unknown:color_primaries=unknown:color_trc=unknown"
NO_TAGS = "-colorspace 2 -color_primaries 2 -color_trc 2"
M2TS = "-c:a ac3 -f mpegts -mpegts_m2ts_mode 1"
MP3 = "-c:a libmp3lame -b:a 128k -id3v2_version 0 -write_xing 0"
TWO_TRACKS = "-map 0:v -map 1:a -map 0:a -c:v copy -c:a aac"
JOINED = Limits(length_s=0.2, psnr=20, lag_ms=45)
"""For recordings that were joined: a part may start between two pictures, and with an encoder's silence."""
JOINED_SOUND = Limits(color=None, length_s=0.2, lag_ms=80, level_db=3)
"""The same without pictures: the encoders' silence at the ends belongs to the file. Stereo made of mono is 3 dB quieter."""
KEY = "00112233445566778899aabbccddeeff"
MUSIC = "aevalsrc='0.1*sin(2*PI*220*t)+0.1*sin(2*PI*277*t)+0.1*sin(2*PI*330*t)':s=48000:d={whole}"

FOOTAGE = [
    Kind("the clip itself", "base.mov", lambda clip: None, Limits(psnr=34)),
    film("MP4, AAC", "-c:v copy -c:a aac", "a.mp4"),
    film("WebM, VP9, Opus", "-c:v libvpx-vp9 -deadline realtime -cpu-used 8 -crf 20 -b:v 0 -c:a libopus", "a.webm"),
    film("H.264, 10 bit, 4:2:2", f"{FILM} -pix_fmt yuv422p10le -c:a aac", "h422.mp4"),
    film("HEVC, 10 bit, 4:2:2", f"{X265_SDR} -pix_fmt yuv422p10le -c:a aac", "hevc422.mov"),
    film("ProRes 422 HQ", f"-c:v prores_ks -profile:v 3 -pix_fmt yuv422p10le {TAGS} -c:a pcm_s24le", "prores.mov"),
    film("pixels of 4:3 (HDV)", f"-vf scale=192:256:flags=bicubic,setsar=4/3 {FILM} -c:a aac", "wide.mp4"),
    film("pixels of 8:9 (DV)", f"-vf scale=288:256:flags=bicubic,setsar=8/9 {FILM} -c:a pcm_s16le", "narrow.avi"),
    film("one key frame, B-frames", f"{FILM} -g 100000 -sc_threshold 0 -bf 3 -c:a aac", "gop.mp4"),
    film("50 pictures a second", f"-vf fps=50 {FILM} -c:a aac", "fps50.mp4"),
    film("59.94 pictures a second", f"-vf fps=60000/1001 {FILM} -c:a aac", "fps60.mp4", Limits(psnr=24)),
    film("120 pictures a second", f"-vf fps=120 {FILM} -c:a aac", "fps120.mov", Limits(psnr=24)),
    film(
        "variable rate (phone)",
        "-vf \"select='lt(mod(n,7),5)',settb=1/90000,setpts='PTS+900*mod(N,3)'\" -fps_mode vfr -enc_time_base 1/90000 "
        f"{FILM} -c:a aac",
        "variable.mp4",
        Limits(psnr=22, lag_ms=45),  # where pictures are missing, the one before stays
    ),
    shown("mirrored by the header", "mirrored.mov", "hflip", "hflip"),
    shown(
        "turned, pixels of 4:3", "turnedwide.mov", "rotation 90", "transpose=1,scale=192:256:flags=bicubic,setsar=4/3"
    ),
    shown("turned by 90 degrees", "turned.mov", "rotation 90", "transpose=1"),
    film(
        "HLG, HEVC 10 bit (iPhone)",
        f"-vf {HDR % 'arib-std-b67'} {X265} -color_trc arib-std-b67 -c:a aac",
        "hlg.mov",
        note="HDR (HLG)",
    ),
    film("PQ, HEVC 10 bit", f"-vf {HDR % 'smpte2084'} {X265} -color_trc smpte2084 -c:a aac", "pq.mp4", note="HDR (PQ)"),
    film(
        "HLG, only its transfer function tagged",
        f"-vf {HDR % 'arib-std-b67'},setparams=colorspace=unknown:color_primaries=unknown "
        f"{X265_SDR.removesuffix(TAGS)} -color_trc arib-std-b67 -c:a aac",
        "partly.mp4",
        note="HDR (HLG)",
    ),
    film("SDR, BT.2020", f"-vf {WIDE} {X265} -color_trc bt2020-10 -c:a aac", "wide2020.mp4"),
    film(
        "SDR, P3",
        f"-vf zscale=p=smpte432:t=bt709:m=bt709:r=tv,format=yuv420p {H264} {TAGS.replace('primaries bt709', 'primaries smpte432')} "
        "-c:a aac",
        "p3.mp4",
        Limits(color=1.5),
    ),
    film(
        "YCgCo (recording of a screen)",
        f"-vf zscale=m=ycgco,format=yuv444p -c:v libx264 -crf 5 {TAGS.replace('space bt709', 'space ycgco')} -c:a aac",
        "ycgco.mp4",
    ),
    film("untagged HD", f"-vf scale=720:720:flags=bicubic,{UNTAGGED} {H264} {NO_TAGS} -c:a aac", "hd.mp4"),
    film(
        "untagged SD",
        f"-vf scale=in_color_matrix=bt709:out_color_matrix=smpte170m,{UNTAGGED} {H264} {NO_TAGS} -c:a aac",
        "sd.mp4",
    ),
    film(
        "interlaced, H.264",
        f"-vf {FIELDS} {FILM} -flags +ilme+ildct -x264opts tff=1 -c:a aac",
        "fields.mp4",
        Limits(psnr=26),
        "interlaced",
    ),
    film(
        "interlaced, MPEG-2 (PAL)",
        f"-vf {FIELDS} -c:v mpeg2video -q:v 2 -flags +ilme+ildct {TAGS} -c:a mp2",
        "pal.ts",
        Limits(psnr=26),
    ),
    film(
        "interlaced, not marked",
        f"-vf {UNMARKED % 'top'} {FILM} -c:a aac",
        "unmarked.mp4",
        Limits(psnr=24),
        "interlaced",
    ),
    film(
        "interlaced, not marked, bottom field first",
        f"-vf {UNMARKED % 'bottom'} {FILM} -c:a aac",
        "bottom.mp4",
        Limits(psnr=24),
        "interlaced",
    ),
    film(
        "interlaced, not marked, Motion JPEG",
        f"-vf {UNMARKED % 'top'},scale=out_color_matrix=smpte170m:out_range=pc -c:v mjpeg -q:v 2 -pix_fmt yuvj422p -c:a pcm_s16le",
        "jpegs.avi",
        Limits(psnr=24),
        "interlaced",
    ),
    film(
        "interlaced, not marked, uncompressed 4:2:2",
        f"-vf {UNMARKED % 'bottom'} -c:v rawvideo -pix_fmt uyvy422 {TAGS} -c:a pcm_s16le",
        "raw.mov",
        Limits(psnr=24),
        "interlaced",
    ),
    film(
        "progressive, marked as interlaced",
        f"-vf scale=576:576:flags=bicubic,setfield=tff {FILM} -flags +ilme+ildct -x264opts tff=1 -c:a aac",
        "psf.mp4",
        Limits(psnr=36),
    ),
    film("progressive, 576 lines", f"-vf scale=576:576:flags=bicubic {FILM} -c:a aac", "rows.mp4"),
    Kind("Dolby Vision, profile 5", "dolby.mp4", dolby_vision, refused="Dolby Vision"),
    halves("two AVCHD clips joined: merged.mts", f"{FILM} {M2TS}", f"{FILM} {M2TS}", "base.mov", JOINED, joined),
    halves(
        "size of pictures changes: sizes.ts",
        f"{FILM} -c:a aac",
        f"-vf scale=320:320 {FILM} -c:a aac",
        "base.mov",
        JOINED,
        listed,
    ),
    halves(
        "mono, then stereo: layout.mkv", f"{FILM} -ac 1 -c:a aac", f"{FILM} -ac 2 -c:a aac", "base.mov", JOINED, listed
    ),
    halves(
        "AC-3 5.1, then stereo: surround.ts",
        f"{FILM} -af 'pan=5.1|c0=c0|c1=c0|c2=c0' -c:a ac3",
        f"{FILM} -ac 2 -c:a ac3",
        "base.mov",
        replace(JOINED, level_db=4),
        listed,
    ),
    film(
        "60 ms of sound lost each second",
        "-c:v copy -af asetnsamples=960,aselect='gte(mod(t\\,1)\\,0.06)' -c:a pcm_s16le",
        "gaps.mkv",
    ),
    Kind("recorder 1 % slow", "drift.mkv", slow_recorder),
    film(
        "opposite phase",
        "-c:v copy -af 'pan=stereo|c0=c0|c1=-1*c0' -c:a pcm_s16le",
        "opposite.mov",
        note="cancel each other",
    ),
    film(
        "opposite phase, AAC",
        "-c:v copy -af 'pan=stereo|c0=c0|c1=-1*c0' -c:a aac",
        "opposite.mp4",
        note="cancel each other",
    ),
    film(
        "opposite phase in the second half",
        "-c:v copy -af 'aeval=val(0)|if(lt(t\\,{half})\\,1\\,-1)*val(0):c=stereo' -c:a pcm_s16le",
        "later.mov",
        note="cancel each other",
    ),
    film(
        "voice on the fourth of six channels",
        "-c:v copy -af 'pan=5.1|c3=c0' -c:a pcm_s16le",
        "fourth.mov",
        Limits(level_db=20),
    ),
    film(
        "first sound track silent (OBS)",
        f"-f lavfi -i anullsrc=r=48000:cl=stereo:d={{whole}} {TWO_TRACKS}",
        "obs.mp4",
        note="track 2",
    ),
    film("first sound track music", f"-f lavfi -i {MUSIC} {TWO_TRACKS}", "music.mp4", note="track 2"),
    film(
        "thumbnail first (Skydio)",
        "-f lavfi -i color=gray:s=384x216:r=25:d=0.04 -map 1:v -map 0:v -map 0:a -c:v:0 mjpeg -c:v:1 copy -c:a aac",
        "thumbnail.mp4",
    ),
    film(
        "slides first, camera second",
        "-f lavfi -i testsrc=s=1280x720:r=1:d={whole} -map 1:v -map 0:v -map 0:a -c:v:0 libx264 -c:v:1 copy -c:a aac",
        "slides.mkv",
    ),
    film("clock of the transport stream runs over", f"{FILM} -c:a mp2 -output_ts_offset 95441.7", "wrap.ts"),
    film(
        "small proxy first",
        "-filter_complex [0:v]scale=64:64,hue=s=0[p] -map [p] -map 0:v -map 0:a -c:v:0 mpeg4 -c:v:1 copy -c:a aac",
        "proxy.mov",
    ),
    film("5.1, voice in the centre", "-c:v copy -af 'pan=5.1|c2=c0' -c:a aac", "centre.mp4", Limits(level_db=12)),
    film(
        "sound of a telephone",
        "-c:v copy -af highpass=300,lowpass=3400 -ar 8000 -c:a pcm_s16le",
        "band.mov",
        Limits(level_db=6),
    ),
    film("echo of a room", "-c:v copy -af aecho=1:0.6:23|41|67:0.5|0.35|0.25 -c:a aac", "echo.mp4", Limits(level_db=6)),
    film("sound starts 0.3 s late", "-c:v copy -af atrim=start=0.3 -c:a aac", "late.mp4"),
    film(
        "29.97 pictures a second",
        f"-vf minterpolate=fps=30000/1001:mi_mode=mci:me_mode=bilat {FILM} -c:a aac",
        "ntsc.mp4",
        Limits(psnr=22),
    ),
    film(
        "sound much longer",
        "-c:v copy -af apad=whole_dur=60 -c:a aac",
        "long.mp4",
        Limits(length_s=99),
        "The sound lasts",
    ),
    film(
        "8 pictures a second", f"-vf fps=8 {FILM} -c:a aac", "slow.mp4", Limits(psnr=15, lag_ms=65), "only 8 pictures"
    ),
    Kind(
        "MP4 without its index",
        "cut.mp4",
        cut_off("cut.mp4", f"{FILM} -c:a aac", 0.7),
        refused="no index",
    ),
    Kind(
        "encrypted MP4",
        "locked.mp4",
        by(
            f"-i base.mov {FILM} -c:a aac -encryption_scheme cenc-aes-ctr -encryption_key {KEY} -encryption_kid {KEY} locked.mp4"
        ),
        refused="protected",
    ),
    replace(film("MXF", "-vf scale=720:576 -c:v mpeg2video -c:a pcm_s16le", "a.mxf"), refused="MXF"),
    replace(film("bare H.264", f"{FILM} -an", "a.h264"), refused="bare video stream"),
    replace(film("animated GIF", "-frames:v 5 -an", "a.gif"), refused="animated GIF"),
    Kind("animated WebP", "animated.webp", animated_webp, refused="animated WebP"),
]
"""Footage of a person."""

AMR = "-ar 8000 -ac 1 -b:a 12.2k -c:a libopencore_amrnb"
SPEECH = [
    Kind("WAV", "base.wav", lambda clip: None, SOUND),
    Kind("WAV with sizes of a stream", "endless.wav", endless_wav, SOUND),
    speech("quad WAV", "-af 'pan=quad|c0=c0|c1=c0|c2=c0|c3=c0' -c:a pcm_s16le", "quad.wav"),
    speech("5.1, voice in the centre (AAC)", "-af 'pan=5.1|c2=c0' -c:a aac", "centre.m4a", replace(SOUND, level_db=12)),
    speech(
        "7.1 FLAC", "-af 'pan=7.1|c0=c0|c1=c0|c2=c0|c4=c0|c5=c0|c6=c0|c7=c0'", "round.flac", replace(SOUND, level_db=3)
    ),
    speech("left channel only", "-af 'pan=stereo|c0=c0|c1=0*c0'", "left.wav", replace(SOUND, level_db=6.5)),
    speech("opposite phase WAV", "-af 'pan=stereo|c0=c0|c1=-1*c0'", "opposite.wav"),
    halves("MP3, mono then stereo: joined.mp3", f"-ac 1 {MP3}", f"-ac 2 {MP3}", "base.wav", JOINED_SOUND, joined),
    halves(
        "MP3, 44.1 then 48 kHz: rates.mp3", f"-ar 44100 {MP3}", f"-ar 48000 {MP3}", "base.wav", JOINED_SOUND, joined
    ),
    halves(
        "two Opus messages joined: chained.ogg",
        "-c:a libopus",
        "-c:a libopus",
        "base.wav",
        JOINED_SOUND,
        joined,
    ),
    *(
        speech(name, "", f"a.{suffix}")
        for name, suffix in (("M4A", "m4a"), ("AIFF", "aiff"), ("CAF", "caf"), ("AU", "au"), ("W64", "w64"))
    ),
    speech("AC-3", "", "a.ac3"),
    speech("E-AC-3", "", "a.eac3"),
    speech("WMA", "-c:a wmav2", "a.wma", replace(SOUND, lag_ms=60)),
    speech("AMR", AMR, "a.amr", replace(SOUND, level_db=3)),
    speech("3GP, AMR", AMR, "a.3gp", replace(SOUND, level_db=3)),
    speech("FLAC, 24 bit, 96 kHz", "-ar 96000 -sample_fmt s32", "a.flac"),
    speech("telephone (mu-law, 8 kHz)", "-ar 8000 -c:a pcm_mulaw", "phone.wav", replace(SOUND, level_db=3)),
]
"""Recordings of speech."""
