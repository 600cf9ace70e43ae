"""A cancelled job frees its worker although the server that is to read its script does not answer."""

from __future__ import annotations

import threading

from api.services import jobs as job_service
from api.services import videos
from tests.receivers import misbehaving
from tests.worker.jobs.test_words import submit_script
from worker.jobs.video_parts import VideoSpeech
from worker.speech.voices import Voices


def test_a_cancel_frees_the_worker_while_the_speech_server_hangs(house):
    subject, asked, end = house.ready_subject(), threading.Event(), threading.Event()

    def hang(_connection):
        asked.set()
        end.wait()

    with misbehaving(hang) as url:
        speaking = house.settings.replace(speech_url=url, speech_voices="ada", speech_networks="127.0.0.0/8")
        worker = house.worker()
        worker.pipeline.speech = VideoSpeech(Voices(speaking), worker.pipeline.speech.transcriber)
        video = submit_script(house, subject, script=videos.Script("Hello.", "server-ada", 1.0))
        working = threading.Thread(target=worker.run_next)
        working.start()
        try:
            assert asked.wait(30)
            house.write(job_service.cancel_job, house.video(video).job.id)
            working.join(5)
            assert not working.is_alive()
        finally:
            end.set()
            working.join()
    assert house.video(video).state == "cancelled"
    worker.lock.release()
    worker.database.close()
