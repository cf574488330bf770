"""Captioners: a picture model in the real on-disk format, an endpoint on this machine, the skeleton itself."""

import json
import logging
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from tmor.errors import TmorError
from tmor.posecap.captioners import Captioner, Clip, EndpointCaptioner, KinematicCaptioner, PictureCaptioner
from tmor.posecap.kinematics import describe_movement
from tmor.skeleton.sample import sample_track
from tmor.skeleton.tracks import Track

KEY = "sk-very-secret-0815"

# --- the skeleton ----------------------------------------------------------------------------------------------------


def test_the_kinematic_captioner_says_what_the_skeleton_does():
    captioner: Captioner = KinematicCaptioner()
    track = sample_track("squat")
    assert captioner(Clip(track=track)) == (describe_movement(track),)
    assert captioner(Clip(label="squat")) == ()
    assert captioner(Clip(track=Track(np.full((5, 17, 2), np.nan), track.layout, 30.0))) == ()


# --- a model that looks at pictures ----------------------------------------------------------------------------------

WORDS = ["<pad>", "<s>", "</s>", "<unk>", "<image>", "raises", "the", "left", "arm", "walks", "USER", "ASSISTANT"]
TEMPLATE = (
    "{% for m in messages %}USER {% for c in m['content'] %}{% if c['type'] == 'image' %}<image> {% else %}"
    "{{ c['text'] }}{% endif %}{% endfor %}{% endfor %} ASSISTANT"
)


@pytest.fixture(scope="module")
def llava_folder(tmp_path_factory):
    """A LLaVA with random weights and a tokenizer of WORDS."""
    import torch
    import transformers as hf
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    words = Tokenizer(models.WordLevel({w: i for i, w in enumerate(WORDS)}, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()  # pyright: ignore
    tokenizer = hf.PreTrainedTokenizerFast(
        tokenizer_object=words, pad_token="<pad>", bos_token="<s>", eos_token="</s>", unk_token="<unk>"
    )
    tokenizer.add_special_tokens({"additional_special_tokens": ["<image>"]})
    small = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    vision = hf.CLIPVisionConfig(**small, image_size=16, patch_size=8, projection_dim=16)
    text = hf.LlamaConfig(
        **small, vocab_size=len(WORDS), num_key_value_heads=2, pad_token_id=0, bos_token_id=1, eos_token_id=2
    )
    config = hf.LlavaConfig(
        vision_config=vision, text_config=text, image_token_index=4, image_seq_length=4, vision_feature_layer=-1
    )
    folder = tmp_path_factory.mktemp("llava")
    torch.manual_seed(0)
    hf.LlavaForConditionalGeneration(config).save_pretrained(folder)
    size = {"height": 16, "width": 16}
    hf.LlavaProcessor(
        image_processor=CLIPImageProcessorPil(size=size, crop_size=size),
        tokenizer=tokenizer,
        patch_size=8,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=TEMPLATE,
    ).save_pretrained(folder)
    return folder


FRAMES = np.random.default_rng(0).integers(0, 255, (5, 20, 30, 3), dtype=np.uint8)


def test_a_picture_model_answers_in_its_own_words_the_same_each_time(llava_folder):
    captioner = PictureCaptioner(str(llava_folder), prompt="the left arm", longest=5)
    (text,) = captioner(Clip(frames=FRAMES))
    assert text and set(text.split()) <= set(WORDS)
    assert len(text.split()) <= 5
    assert captioner(Clip(frames=FRAMES)) == (text,)
    assert captioner(Clip(label="wave")) == captioner(Clip(frames=FRAMES[:0])) == ()


def test_a_picture_model_is_shown_the_frames_and_asked_the_prompt(llava_folder, monkeypatch):
    captioner = PictureCaptioner(str(llava_folder), prompt="raises the arm", frames=3)
    captioner(Clip(frames=FRAMES[:1]))
    assert captioner._loaded is not None
    model, seen = captioner._loaded[0], {}

    def generate(**inputs):
        seen.update(inputs)
        return inputs["input_ids"][:, [0] * 200]

    monkeypatch.setattr(model, "generate", generate)
    captioner(Clip(frames=FRAMES))
    prompt = seen["input_ids"][0].tolist()
    assert prompt.count(4) == 3 * 4  # three pictures of four patches
    assert [WORDS[i] for i in prompt if i != 4] == ["USER", "raises", "the", "arm", "ASSISTANT"]
    assert seen["pixel_values"].shape == (3, 3, 16, 16)
    assert seen["do_sample"] is False


def test_a_folder_that_is_no_picture_model_says_so(tmp_path, llava_folder):
    with pytest.raises(TmorError, match=r"holds no config.json with \*.safetensors beside it"):
        PictureCaptioner(str(tmp_path))
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    (tmp_path / "model.safetensors").write_bytes((llava_folder / "model.safetensors").read_bytes())
    with pytest.raises(TmorError, match="can't be loaded as an image-text-to-text model"):
        PictureCaptioner(str(tmp_path))(Clip(frames=FRAMES))
    with pytest.raises(TmorError, match="0 frames, 80 tokens; expected at least 1 of each"):
        PictureCaptioner(str(llava_folder), frames=0)


def test_code_that_comes_with_a_model_is_not_run(tmp_path, llava_folder):
    ran = tmp_path / "ran"
    config = {"model_type": "mine", "auto_map": {"AutoConfig": "own.C", "AutoModelForImageTextToText": "own.C"}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "own.py").write_text(f"open({str(ran)!r}, 'w')\nclass C: pass\n")
    (tmp_path / "model.safetensors").write_bytes((llava_folder / "model.safetensors").read_bytes())
    with pytest.raises(TmorError, match="can't be loaded"):
        PictureCaptioner(str(tmp_path))(Clip(frames=FRAMES))
    assert not ran.exists()


# --- an endpoint -----------------------------------------------------------------------------------------------------


class Endpoint(ThreadingHTTPServer):
    """Answers from a list of (status, headers, body), the last one for ever; remembers what it was asked."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Answering)
        self.answers, self.asked = [], []

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}/v1"

    def says(self, *contents):
        self.answers = [(200, {}, json.dumps({"choices": [{"message": {"content": c}}]})) for c in contents]


class Answering(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        server = self.server
        assert isinstance(server, Endpoint)
        server.asked.append((self.path, dict(self.headers), json.loads(body)))
        status, headers, text = server.answers[min(len(server.asked), len(server.answers)) - 1]
        if status == "late":
            threading.Event().wait(0.4)  # time.sleep is watched
            return
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(text.encode())))
        self.end_headers()
        self.wfile.write(text.encode())

    do_GET = do_POST  # noqa: N815

    def log_message(self, format, *args):
        pass


@pytest.fixture
def endpoint(tmp_path, monkeypatch):
    monkeypatch.setenv("TMOR_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    server = Endpoint()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def pauses(monkeypatch):
    from tmor.posecap import captioners

    waited = []
    monkeypatch.setattr(captioners.time, "sleep", waited.append)
    return waited


GOOD = '["raises the arm", "lifts  a hand"]'
WAVE = Clip(label="Wave_Hand")


def test_a_label_is_described_once_and_remembered(endpoint, tmp_path):
    endpoint.says(f"Here you are:\n```json\n{GOOD}\n```")
    captioner = EndpointCaptioner(endpoint.url, "m")
    assert captioner(WAVE) == ("raises the arm", "lifts a hand")
    assert captioner(Clip(label="wave hand")) == ("raises the arm", "lifts a hand")
    assert len(endpoint.asked) == 1
    path, headers, body = endpoint.asked[0]
    assert path == "/v1/chat/completions"
    assert headers["Authorization"] == f"Bearer {KEY}"
    assert body["model"] == "m"
    assert body["messages"] == [{"role": "user", "content": captioner.prompt("wave hand")}]
    assert '"wave hand"' in captioner.prompt("Wave_Hand")
    kept = [p for p in (tmp_path / "cache").rglob("*") if p.is_file()]
    assert len(kept) == 1 and KEY not in kept[0].read_text()
    assert EndpointCaptioner(endpoint.url, "other")(WAVE) and len(endpoint.asked) == 2


def test_a_busy_endpoint_is_asked_again_after_growing_pauses(endpoint, pauses):
    endpoint.says(GOOD)
    endpoint.answers = [
        (429, {"Retry-After": "7"}, ""),
        (503, {}, ""),
        (500, {"Retry-After": "999"}, ""),
        endpoint.answers[0],
    ]
    assert EndpointCaptioner(endpoint.url, "m")(WAVE)
    assert pauses == [7.0, 2.0, 60.0]


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ((200, {}, "no JSON at all"), "the answer can't be read"),
        ((200, {}, '{"choices": []}'), "no choices"),
        ((200, {}, '{"choices": [{"message": {"content": "[1, 2]"}}]}'), "no JSON list of texts: '\\[1, 2\\]'"),
        ((200, {}, '{"choices": [{"message": {"content": "[\\"a"}}]}'), "no JSON list of texts"),
        ((200, {}, "x" * (2**20 + 1)), "longer than 1 MiB"),
        ((500, {}, "overloaded"), "HTTP 500: overloaded"),
        (("late", {}, ""), "timed out|TimeoutError|RemoteDisconnected"),
    ],
)
def test_tries_are_bounded_and_the_last_problem_is_told(endpoint, pauses, answer, said):
    endpoint.answers = [answer]
    captioner = EndpointCaptioner(endpoint.url, "m", tries=2, timeout_s=0.2)
    with pytest.raises(TmorError, match=f"no description of 'Wave_Hand' after 2 tries; .*{said}"):
        captioner(WAVE)
    assert len(endpoint.asked) == 2
    assert pauses[0] == 1.0


def test_a_refusal_gives_no_text_and_is_not_remembered(endpoint, caplog):
    endpoint.says("I'm sorry, but I can't help with that.", GOOD)
    captioner = EndpointCaptioner(endpoint.url, "m")
    with caplog.at_level(logging.WARNING):
        assert captioner(WAVE) == ()
    assert caplog.messages == ["m at 127.0.0.1 refused to describe 'Wave_Hand'; it gets no text"]
    assert captioner(WAVE) == ("raises the arm", "lifts a hand")


@pytest.mark.parametrize("status", [401, 500])
def test_the_key_is_in_no_message_even_where_the_endpoint_repeats_it(endpoint, pauses, caplog, status):
    endpoint.answers = [(status, {}, f"wrong key {KEY}!")]
    with pytest.raises(TmorError, match=r"wrong key \.\.\.!") as error:
        EndpointCaptioner(endpoint.url, "m", tries=1)(WAVE)
    assert KEY not in str(error.value) + caplog.text
    assert ("(the key is taken from OPENAI_API_KEY, which is set)" in str(error.value)) == (status == 401)


def test_the_key_follows_no_redirection_and_goes_nowhere_in_the_clear(endpoint, pauses):
    endpoint.answers = [(302, {"Location": endpoint.url}, "elsewhere")]
    with pytest.raises(TmorError, match="HTTP 302: elsewhere"):
        EndpointCaptioner(endpoint.url, "m")(WAVE)
    assert len(endpoint.asked) == 1
    with pytest.raises(TmorError, match="a key would go over http in the clear; expected https"):
        EndpointCaptioner("http://models.example/v1", "m")(WAVE)
    with pytest.raises(TmorError, match=r"endpoint https://a\.b: expected an address") as error:
        EndpointCaptioner(f"https://user:{KEY}@a.b/v1", "m")
    assert KEY not in str(error.value)
    with pytest.raises(TmorError, match="endpoint file://None: expected an address"):
        EndpointCaptioner("file:///etc/passwd", "m")


def test_an_endpoint_without_a_key_is_asked_without(endpoint, monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY")
    endpoint.says(GOOD)
    EndpointCaptioner(endpoint.url, "m")(WAVE)
    assert "Authorization" not in endpoint.asked[0][1]


def test_a_dry_run_prints_prompts_and_asks_nobody(endpoint, capsys):
    captioner = EndpointCaptioner(endpoint.url, "m", dry_run=True)
    assert captioner(WAVE) == captioner(WAVE) == ()
    assert capsys.readouterr().out.strip() == captioner.prompt("Wave_Hand")
    assert not endpoint.asked
    assert captioner(Clip()) == ()
