# Wheels into a cache, from there a wheelhouse of exactly this set, unzipped, the handler beside
# them, late times clamped, zipped; then deployed and called.
ROOT = $(shell pwd)
OUT = $(ROOT)/build
CACHE = $(OUT)/cache-wheelhouse
WHEELS = $(OUT)/wheelhouse
TREE = $(OUT)/staging
ZIP = $(OUT)/lambda.zip
COMMITTED = $(shell git log --date=local -1 --format="@%ct" 2>/dev/null || echo @315532800)
FUNCTION ?= MyFunction

-include .env

all: $(ZIP)
.PHONY: all clean upload invoke

clean:
	rm -f $(OUT)/cached $(OUT)/collected $(OUT)/staged $(OUT)/uploaded
	rm -rf $(CACHE) $(WHEELS) $(TREE)
	rm -f $(ZIP)

$(OUT)/cached: $(ROOT)/requirements.txt
	mkdir -p $(OUT)
	pip wheel -q -r requirements.txt . --wheel-dir=$(CACHE) --find-links=$(CACHE)
	touch $@

$(OUT)/collected: $(OUT)/cached
	rm -rf $(WHEELS)
	pip wheel -q -r requirements.txt . --wheel-dir=$(WHEELS) --find-links=$(CACHE)
	touch $@

$(OUT)/staged: $(OUT)/collected $(ROOT)/lambda_handler.py
	rm -rf $(TREE)
	unzip -q "$(WHEELS)/*.whl" -d $(TREE)
	cp $(ROOT)/lambda_handler.py $(TREE)/
	find "$(TREE)" -newermt "$(COMMITTED)" -print0 | xargs -0r touch --no-dereference --date="$(COMMITTED)"
	touch $@

$(ZIP): $(OUT)/staged
	rm -f $(ZIP)
	cd $(TREE) && zip -q -X -9 -r $(ZIP) *

$(OUT)/uploaded: $(ZIP)
	aws lambda update-function-code --function-name $(FUNCTION) --zip-file lambda.zip
	touch $@

upload: $(OUT)/uploaded

invoke: $(OUT)/uploaded
	aws lambda invoke \
	  --function-name $(FUNCTION) \
	  --invocation-type RequestResponse \
	  --payload file://example-payload.json \
	  response.json
