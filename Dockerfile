# syntax=docker/dockerfile:1
#
# Précis for NVIDIA Linux hosts: DGX Spark (arm64), and any x64 or arm64 machine with the NVIDIA container toolkit.
# Without a GPU it runs on Mesa's software Vulkan.
#
#   docker build -t precis .
#   docker run --rm -it --gpus all -v precis-runs:/precis/runs precis train
#   docker run --rm -it --gpus all precis test
#
# Downloads go to Hugging Face's usual cache, so the host's can be shared; HF_TOKEN is handed over at run time:
#
#   docker run … -e HF_TOKEN -v ~/.cache/huggingface:/root/.cache/huggingface precis train
#
# To bake a model into the image (/opt/models/NAME, in Hugging Face layout), name it; a gated one needs the token, which the
# build sees as a secret, mounted for one command and stored in no layer:
#
#   docker build --build-arg MODEL=Qwen/Qwen2.5-0.5B --secret id=HF_TOKEN,env=HF_TOKEN -t precis .

FROM debian:12-slim

# The Vulkan loader, Mesa for machines without a GPU, and what NVIDIA's libraries link against although nothing is drawn.
RUN apt-get update \
 && apt-get install -y --no-install-recommends \
      ca-certificates curl unzip libvulkan1 mesa-vulkan-drivers libegl1 libglvnd0 libx11-6 libxext6 \
 && rm -rf /var/lib/apt/lists/*

# A model, when one is asked for. The token goes to curl through a pipe, so that it shows in no list of processes either.
ARG MODEL=
RUN --mount=type=secret,id=HF_TOKEN,required=false set -eu; \
    [ -n "$MODEL" ] || exit 0; \
    folder=/opt/models/${MODEL##*/}; mkdir -p "$folder"; \
    for file in config.json tokenizer.json tokenizer_config.json model.safetensors; do \
      { [ ! -f /run/secrets/HF_TOKEN ] || printf 'header = "Authorization: Bearer %s"\n' "$(cat /run/secrets/HF_TOKEN)"; } \
      | curl -fsSL --retry 3 -K - -o "$folder/$file" "https://huggingface.co/$MODEL/resolve/main/$file"; \
    done

# "graphics" makes the container toolkit bring NVIDIA's Vulkan library; its default, compute and utility, does not.
ENV NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility,graphics \
    XDG_DATA_HOME=/opt DENO_DIR=/opt/deno DENO_NO_UPDATE_CHECK=1
WORKDIR /precis

# Deno, at the version that setup.sh pins; then the packages that the lock file names; then the code: what changes most comes last.
COPY setup.sh ./
RUN sh setup.sh --deno
COPY deno.json deno.lock ./
RUN deno install --frozen
COPY . ./

VOLUME ["/precis/runs", "/root/.cache/huggingface"]

# setup.sh asks WebGPU for the GPU at every start, and points Vulkan to NVIDIA's driver where the toolkit brought only its library.
ENTRYPOINT ["sh", "/precis/setup.sh"]
CMD ["train"]
