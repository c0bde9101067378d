# libsparsenet - GNU make, out of tree in build/
#
#   make deps            install what the build and the tests need (Debian and Ubuntu)
#   make                 build/libsparsenet.a and build/libsparsenet.so
#   make examples        every examples/*.c as build/examples/NAME; examples/cpp/*.cpp as build/examples/cpp/NAME
#   make demo            train a model, find its circuits, write them to out/
#   make reproduce       train the models of the paper's comparisons, into out/reproduce (goes on where it stopped);
#                        reproduce-quick: one of each kind, within minutes, into out/reproduce-quick
#   make tests           build the tests, run none
#   make check           the tests: about a minute
#   make check-full      check, the long tests, sanitizers, valgrind, clang, and the next three
#   make check-aarch64   build for aarch64 and run the tests in an emulator (make deps-aarch64)
#   make coverage        the lines of lib/ that the tests run: at least 90 %
#   make lint            what the compilers do not see
#   make fuzz            every parser for FUZZ_SECONDS each (clang)
#   make random-calls    RANDOM_CALLS calls of public functions at random, under sanitizers: 10000000, an hour
#   make check-avx512    the AVX-512 kernels in an emulated machine (make deps-avx512)
#   make bench           measure beside the peers (make deps-bench); bench-quick: within 4 minutes
#   make study           gradients on the support against dense ones, in pairs: an hour (goes on where it stopped)
#   make install         into PREFIX (/usr/local), under DESTDIR
#   make uninstall
#   make man             the manual pages, in build/man
#   make deb             Debian packages, in build/deb (make deps-package)
#   make symbols-update, abi-update   after a deliberate change of the ABI (docs/release.md)
#   make format          clang-format over the tree
#   make clean
#
# Variables: CC, CFLAGS, CXX, CXXFLAGS, CPPFLAGS, LDFLAGS, LDLIBS; PREFIX, LIBDIR, INCLUDEDIR, MANDIR,
#   DESTDIR;
#   KERNEL_CFLAGS=...  behind CFLAGS for the kernels alone: -O3 where CFLAGS are not given, else nothing
#   XSMM=0      without libxsmm (the default where the compiler does not find it, and outside x86-64)
#   WERROR=1    warnings are errors
#   SAN=...     -fsanitize=..., with BUILD=build/... of its own
#   SPARSENET_SHARED=...  the folder with goldens/ and bad/ that the tests compare with
#   V=1         show the commands

BUILD   ?= build
# The user's word is the last, in kernels too; without one they are worth more than the rest.
ifeq ($(origin CFLAGS),undefined)
KERNEL_CFLAGS ?= -O3
endif
CFLAGS  ?= -O2 -g
CXXFLAGS ?= -O2 -g
PREFIX  ?= /usr/local
LIBDIR  ?= $(PREFIX)/lib
INCLUDEDIR ?= $(PREFIX)/include
MANDIR  ?= $(PREFIX)/share/man
SPARSENET_SHARED ?= ../shared
CXX     ?= c++
CLANG_FORMAT ?= clang-format
LDCONFIG ?= ldconfig
SEED    ?= 1

# The compiler tells which machine it is for, and which tools go with it: CC=aarch64-linux-gnu-gcc is enough.
HERE    := $(shell uname -m)
MACHINE := $(or $(firstword $(subst -, ,$(shell $(CC) -dumpmachine 2>/dev/null))),$(HERE))
tool     = $(or $(shell $(CC) -print-prog-name=$(1) 2>/dev/null),$(1))
OBJCOPY ?= $(call tool,objcopy)
NM      ?= $(call tool,nm)
ifeq ($(origin LD),default)
LD       = $(call tool,ld)
endif
ifeq ($(origin AR),default)
AR       = $(call tool,ar)
endif

# Looked for when it is first needed, not here: `make deps check` installs libxsmm first.
XSMM_ASKED := $(XSMM)
ifeq ($(origin XSMM),undefined)
has_xsmm = $(shell $(CC) $(CPPFLAGS) $(CFLAGS) -include libxsmm.h -x c -E /dev/null > /dev/null 2>&1 && echo 1)
XSMM     = $(eval XSMM := $(or $(if $(filter x86_64,$(MACHINE)),$(has_xsmm)),0))$(XSMM)
endif
DENSE    = $(if $(filter 1,$(XSMM)),libxsmm,the portable kernel$(comma) without libxsmm)
WERROR  ?= 0
SAN     ?=
V       ?= 0
Q       := $(if $(filter 1,$(V)),,@)
say      = $(if $(filter 1,$(V)),,@printf '  %-8s %s\n' $(1) $(2))

# The version has one home: the public header.
version_of = $(shell sed -n 's/^\#define SN_VERSION_$(1) //p' include/sparsenet.h)
MAJOR   := $(call version_of,MAJOR)
VERSION := $(MAJOR).$(call version_of,MINOR).$(call version_of,PATCH)

# ------------------------------------------------------------------- flags

# No -ffast-math anywhere: linking a shared object with it would switch the host process to
# flush-to-zero. Contraction is left to the kernels, so that the rest rounds the same everywhere.
LANGUAGE  = -std=c11 -D_GNU_SOURCE -Iinclude -Ilib -DSN_XSMM=$(XSMM)
WARNINGS := -Wall -Wextra -Wshadow -Wconversion $(if $(filter 1,$(WERROR)),-Werror)
CODE     := -fPIC -fvisibility=hidden -ffp-contract=off
# Where the tree lies stays out of the objects: the same sources give the same bits in any folder.
PLACES   := -ffile-prefix-map="$(abspath $(BUILD))=build" -ffile-prefix-map="$(CURDIR)=."
SANITIZE := $(if $(SAN),-fsanitize=$(SAN) -fno-sanitize-recover=all -fno-omit-frame-pointer -g)

COMPILE  = $(CC) $(LANGUAGE) $(WARNINGS) $(CODE) $(PLACES) $(CPPFLAGS) $(CFLAGS) $(SANITIZE) -MMD -MP

# Instruction sets are chosen at run time: only these files are built for more than the base machine. What the user may
# want otherwise stands in front of CFLAGS, what the code needs stands last.
KERNEL_CODE    := -O3 -ffp-contract=fast
ifneq ($(filter x86_64 amd64 i%86,$(MACHINE)),)
WIDTH_avx2     := -mprefer-vector-width=256
WIDTH_avx512   := -mprefer-vector-width=512
ISA_avx2       := -mavx2 -mfma
ISA_avx512     := -mavx512f -mavx512bw -mavx512vl -mavx512dq -mfma
endif

XSMM_LIBS_1  := -lxsmm -lxsmmnoblas
XSMM_LIBS     = $(XSMM_LIBS_$(XSMM))
LIBRARIES     = $(XSMM_LIBS) -ljansson -lpcre2-8 -lpthread -lm -ldl
LINK_FLAGS    = $(LDFLAGS) $(SANITIZE)
# Asked for in the recipe, not here: `make deps check` installs pkg-config first.
CHECK_LIBS    = $(shell pkg-config --libs check 2>/dev/null || echo -lcheck)

# ----------------------------------------------------------------- library

SOURCES  := $(sort $(wildcard lib/*/*.c))
# The page of a circuit: the files of lib/report/viewer as constants, joined in this order.
VIEWER   := lib/report/viewer
STYLES   := $(patsubst %,$(VIEWER)/%.css,theme layout graph card views phone print)
SCRIPTS  := $(patsubst %,$(VIEWER)/%.js,elements data columns order places graph edges zoom threshold focus search \
	labels tokens charts attention card table figures channels compare legend tabs keyboard start)
PARTS    := $(BUILD)/lib/report/viewer_parts
OBJECTS  := $(SOURCES:%.c=$(BUILD)/%.o) $(PARTS).o
INTERNAL := $(BUILD)/libinternal.a
STATIC   := $(BUILD)/libsparsenet.a
SONAME   := libsparsenet.so.$(MAJOR)
SHARED   := $(BUILD)/libsparsenet.so.$(VERSION)

.PHONY: all
all: $(STATIC) $(SHARED)

# Objects are built anew when the compiler or its flags have changed since.
FLAGS := $(BUILD)/flags
.PHONY: always
$(FLAGS): always
	@mkdir -p $(@D)
	@echo '$(COMPILE) $(KERNEL_CFLAGS) $(LINK_FLAGS)' | cmp -s - $@ || { \
		echo '$(COMPILE) $(KERNEL_CFLAGS) $(LINK_FLAGS)' > $@; \
		echo 'for $(MACHINE); dense products by $(DENSE)'; }

KERNELS := portable avx2 avx512
$(KERNELS:%=$(BUILD)/lib/kernels/%.o): private CODE += $(KERNEL_CODE) $(WIDTH_$(*F))
$(KERNELS:%=$(BUILD)/lib/kernels/%.o): private ISA   = $(KERNEL_CFLAGS) $(ISA_$(*F))

$(BUILD)/%.o: %.c $(FLAGS)
	$(call say,CC,$<)
	$(Q)mkdir -p $(@D)
	$(Q)$(COMPILE) $(ISA) -c -o $@ $<

# The tool that joins them runs here and now, whatever machine the library is for: the user's flags are for it too,
# unless it has a compiler of its own.
HOSTCC   ?= $(if $(filter $(HERE),$(MACHINE)),$(CC),cc)
HOST_FLAGS ?= $(if $(filter-out $(CC),$(HOSTCC)),-O1,$(CPPFLAGS) $(CFLAGS) $(LDFLAGS))
$(BUILD)/embed: $(VIEWER)/embed.c $(FLAGS)
	$(call say,HOSTCC,$<)
	$(Q)$(HOSTCC) -std=c11 $(WARNINGS) $(HOST_FLAGS) -o $@ $<

$(PARTS).c: $(BUILD)/embed $(VIEWER)/page.html $(STYLES) $(SCRIPTS) Makefile
	$(call say,EMBED,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(BUILD)/embed $@.new viewer_markup $(VIEWER)/page.html -- viewer_style $(STYLES) -- viewer_script $(SCRIPTS)
	$(Q)mv $@.new $@

$(PARTS).o: $(PARTS).c $(FLAGS)
	$(call say,CC,$<)
	$(Q)$(COMPILE) -c -o $@ $<

# The tests reach the insides through an ordinary archive of all objects. (D: no dates, no user.)
$(INTERNAL): $(OBJECTS)
	$(call say,AR,$@)
	$(Q)rm -f $@
	$(Q)$(AR) rcsD $@ $^

# Users get one object in which only sn_* is left visible: names like `fail` stay the host's own. LDFLAGS are for
# programs and shared objects and are not given to this partial link.
$(BUILD)/sparsenet.o: $(OBJECTS)
	$(call say,LD,$@)
	$(Q)$(LD) -r -o $@ $^
	$(Q)$(OBJCOPY) --localize-hidden $@

$(STATIC): $(BUILD)/sparsenet.o
	$(call say,AR,$@)
	$(Q)rm -f $@
	$(Q)$(AR) rcsD $@ $^

$(SHARED): $(OBJECTS)
	$(call say,LINK,$@)
	$(Q)$(CC) -shared -Wl,-soname,$(SONAME) -Wl,--exclude-libs,ALL $(if $(SAN),,-Wl$(comma)-z$(comma)defs) \
		$(CFLAGS) $(LINK_FLAGS) -o $@ $^ $(LIBRARIES) $(LDLIBS)
	$(Q)ln -sf $(@F) $(BUILD)/$(SONAME)
	$(Q)ln -sf $(SONAME) $(BUILD)/libsparsenet.so

comma := ,

# ---------------------------------------------------------------- examples

EXAMPLES := $(patsubst %.c,$(BUILD)/%,$(sort $(wildcard examples/*.c)))
EXAMPLES_CPP := $(patsubst %.cpp,$(BUILD)/%,$(sort $(wildcard examples/cpp/*.cpp)))

# One of several files.
REPRODUCE_SOURCES := $(sort $(wildcard examples/reproduce/*.c))
REPRODUCE_OBJECTS := $(REPRODUCE_SOURCES:%.c=$(BUILD)/%.o)
REPRODUCE := $(BUILD)/examples/reproduce/reproduce

.PHONY: examples demo reproduce reproduce-quick
examples: $(EXAMPLES) $(EXAMPLES_CPP) $(REPRODUCE)

# As a user would: the public header and the static library, nothing else.
$(BUILD)/examples/%: examples/%.c $(STATIC)
	$(call say,CC,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) -std=c11 -D_GNU_SOURCE -Iinclude $(WARNINGS) $(CPPFLAGS) $(CFLAGS) $(SANITIZE) \
		-MMD -MP -MF $@.d -MT $@ -o $@ $< $(STATIC) $(LINK_FLAGS) $(LIBRARIES) $(LDLIBS)

$(BUILD)/examples/cpp/%: examples/cpp/%.cpp $(STATIC)
	$(call say,CXX,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(CXX) -std=c++17 -Iinclude $(WARNINGS) -pedantic $(CPPFLAGS) $(CXXFLAGS) $(SANITIZE) \
		-MMD -MP -MF $@.d -MT $@ -o $@ $< $(STATIC) $(LINK_FLAGS) $(LIBRARIES) $(LDLIBS)

$(REPRODUCE_OBJECTS): private LANGUAGE  = -std=c11 -D_GNU_SOURCE -Iinclude

$(REPRODUCE): $(REPRODUCE_OBJECTS) $(STATIC)
	$(call say,LINK,$@)
	$(Q)$(CC) $(CFLAGS) -o $@ $^ $(LINK_FLAGS) $(LIBRARIES) $(LDLIBS)

reproduce: $(REPRODUCE)
	@mkdir -p out
	$(REPRODUCE) out/reproduce --threads $$(nproc)

reproduce-quick: $(REPRODUCE)
	@mkdir -p out
	$(REPRODUCE) out/reproduce-quick --quick --threads $$(nproc)

# SEED=n trains another model.
demo: $(BUILD)/examples/demo
	@rm -f out/circuit_*
	$(BUILD)/examples/demo out $$(nproc) $(SEED)

# ------------------------------------------------------------------- tests

SUITES := $(sort $(wildcard tests/test_*.c))
TOOLS  := $(patsubst tests/tools/%.c,$(BUILD)/tests/%,$(sort $(wildcard tests/tools/*.c)))
BENCH_PARTS := tests/bench/jobs.c tests/bench/support.c $(sort $(wildcard tests/bench/*_jobs.c))
BENCH  := $(patsubst %.c,$(BUILD)/%,$(filter-out $(BENCH_PARTS),$(sort $(wildcard tests/bench/*.c))))
RUNNER := $(BUILD)/tests/check_all

# The other tests/*.c are what suites, tools and benches share; each links what it needs of them.
SHARED_TESTS := $(filter-out $(SUITES) tests/main.c tests/header_test.c,$(sort $(wildcard tests/*.c)))
HELPERS      := $(BUILD)/tests/libhelpers.a

SUITE_OBJECTS  := $(SUITES:%.c=$(BUILD)/%.o) $(BUILD)/tests/main.o
HELPER_OBJECTS := $(SHARED_TESTS:%.c=$(BUILD)/%.o) $(BENCH_PARTS:%.c=$(BUILD)/%.o)
TEST_OBJECTS   := $(SUITE_OBJECTS) $(HELPER_OBJECTS)
$(TEST_OBJECTS): private LANGUAGE += -Itests -I$(BUILD)/tests
# 64-byte vectors without AVX-512: gcc notes that passing them between functions would have another ABI.
$(BUILD)/tests/kernels_wide.o: private CODE += $(KERNEL_CODE)
$(BUILD)/tests/kernels_wide.o: private ISA   = $(KERNEL_CFLAGS) -Wno-psabi

# Random sequences of calls: the objects of its worlds are those of the suites, and so are the faults of files.
RANDOM_SOURCES := $(sort $(wildcard tests/random_calls/*.c))
RANDOM_OBJECTS := $(RANDOM_SOURCES:%.c=$(BUILD)/%.o)
RANDOM         := $(BUILD)/tests/random_calls/random_calls
TEST_OBJECTS   += $(RANDOM_OBJECTS)
$(RANDOM_OBJECTS): private LANGUAGE += -Itests

# Fuzz targets, here with a main that replays files; `make fuzz` drives them by libFuzzer.
FUZZ_SOURCES := $(sort $(wildcard tests/fuzz/fuzz_*.c))
FUZZ         := $(patsubst %.c,$(BUILD)/%,$(FUZZ_SOURCES))
FUZZ_SHARED  := tests/fuzz/fuzz.c tests/fuzz/small.c
FUZZ_HEADERS := tests/fuzz/fuzz.h tests/fuzz/small.h tests/zip_fix.h
FUZZ_SEEDS   := $(BUILD)/tests/fuzz/make_seeds

.PHONY: tests fuzz-replays
fuzz-replays: $(FUZZ) $(FUZZ_SEEDS) $(BUILD)/examples/convert
tests: $(RUNNER) $(RANDOM) $(TOOLS) $(BENCH) $(FUZZ) $(FUZZ_SEEDS) examples

# A suite is any tests/test_NAME.c; it defines Suite *NAME_suite(void).
$(BUILD)/tests/suites.inc: $(SUITES) Makefile
	$(Q)mkdir -p $(@D)
	$(Q)for file in $(SUITES:tests/test_%.c=%); do echo "SUITE($$file)"; done > $@

$(BUILD)/tests/main.o: $(BUILD)/tests/suites.inc

$(HELPERS): $(HELPER_OBJECTS)
	$(call say,AR,$@)
	$(Q)rm -f $@
	$(Q)$(AR) rcsD $@ $^

# What tests/file_faults.c and thread_faults.c let fail. The helpers stand behind the library, too: it calls them.
WRAPPED := open write pread fsync rename mkdir fstat fdopendir readdir getrandom close unlink pthread_create

$(RUNNER): $(SUITE_OBJECTS) $(HELPERS) $(INTERNAL)
	$(call say,LINK,$@)
	$(Q)$(CC) $(CFLAGS) $(LINK_FLAGS) $(WRAPPED:%=-Wl$(comma)--wrap=%) -o $@ $^ $(HELPERS) $(CHECK_LIBS) $(LIBRARIES) $(LDLIBS)

$(RANDOM): $(RANDOM_OBJECTS) $(HELPERS) $(INTERNAL)
	$(call say,LINK,$@)
	$(Q)$(CC) $(CFLAGS) $(LINK_FLAGS) $(WRAPPED:%=-Wl$(comma)--wrap=%) -o $@ $^ $(HELPERS) $(LIBRARIES) $(LDLIBS)

$(TOOLS): $(BUILD)/tests/%: tests/tools/%.c $(HELPERS) $(INTERNAL) $(FLAGS)
	$(call say,CC,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(COMPILE) -Itests -MF $@.d -MT $@ -o $@ $< \
		$(HELPERS) $(INTERNAL) $(LINK_FLAGS) $(LIBRARIES) $(LDLIBS)

$(FUZZ_SEEDS): tests/fuzz/make_seeds.c $(FUZZ_SHARED) $(FUZZ_HEADERS) $(STATIC)
$(FUZZ): $(BUILD)/tests/fuzz/%: tests/fuzz/%.c tests/fuzz/replay.c $(FUZZ_SHARED) $(FUZZ_HEADERS) $(STATIC)
$(FUZZ) $(FUZZ_SEEDS):
	$(call say,CC,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) -std=c11 -D_GNU_SOURCE -Iinclude $(WARNINGS) $(CPPFLAGS) $(CFLAGS) $(SANITIZE) -o $@ \
		$(filter %.c,$^) $(STATIC) $(LINK_FLAGS) $(LIBRARIES) $(LDLIBS)

# Each target FUZZ_SECONDS long under AddressSanitizer and UBSan (of which "undefined" leaves out casts of numbers that
# are too large): FUZZ_ONLY="pt config" for some of them. With FUZZ_RESUME=1 those are left out that have been fuzzed so
# long since they were built.
FUZZ_SECONDS ?= 60
FUZZ_RESUME  ?=
FUZZERS      := $(BUILD)/fuzz
FUZZ_SAN     := address,undefined,float-cast-overflow
.PHONY: fuzz
fuzz: examples $(FUZZ_SEEDS)
	$(Q)$(MAKE) BUILD=$(FUZZERS) CC=clang SAN=fuzzer-no-link,$(FUZZ_SAN) fuzzers
	SPARSENET_SHARED='$(SPARSENET_SHARED)' CONVERT=$(BUILD)/examples/convert MAKE_SEEDS=$(FUZZ_SEEDS) \
		RESUME='$(FUZZ_RESUME)' bash tests/fuzz/run.sh $(FUZZERS) $(FUZZ_SECONDS) $(FUZZ_ONLY)

# SEED=n makes other calls; --table in RANDOM_FLAGS tells how they ended, function by function.
RANDOM_CALLS ?= 10000000
RANDOM_FLAGS ?= --table
.PHONY: random-calls
random-calls:
	$(Q)$(MAKE) BUILD=$(BUILD)/asan SAN=address,undefined $(BUILD)/asan/tests/random_calls/random_calls
	$(BUILD)/asan/tests/random_calls/random_calls --calls $(RANDOM_CALLS) --seed $(SEED) $(RANDOM_FLAGS)

.PHONY: fuzzers
fuzzers: $(patsubst tests/fuzz/%.c,$(BUILD)/%,$(FUZZ_SOURCES))
$(BUILD)/fuzz_%: tests/fuzz/fuzz_%.c $(FUZZ_SHARED) $(FUZZ_HEADERS) $(STATIC)
	$(call say,CC,$@)
	$(Q)$(CC) -std=c11 -D_GNU_SOURCE -Iinclude $(WARNINGS) $(CPPFLAGS) $(CFLAGS) \
		-fsanitize=fuzzer,$(FUZZ_SAN) -fno-sanitize-recover=all -o $@ $(filter %.c,$^) $(STATIC) \
		$(LDFLAGS) $(LIBRARIES) $(LDLIBS)

$(BENCH): $(BUILD)/tests/bench/%: tests/bench/%.c $(HELPERS) $(INTERNAL) $(FLAGS)
	$(call say,CC,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(COMPILE) -Itests -MF $@.d -MT $@ -o $@ $< \
		$(HELPERS) $(INTERNAL) $(LINK_FLAGS) $(LIBRARIES) $(LDLIBS)

CHECK = BUILD='$(BUILD)' CC='$(CC)' CXX='$(CXX)' NM='$(NM)' \
	SPARSENET_SHARED='$(SPARSENET_SHARED)' MAKE='$(MAKE)' bash

.PHONY: check check-full bench bench-quick study symbols-update abi-update
check: tests all
	$(CHECK) tests/check.sh

check-full: check
	$(CHECK) tests/check_full.sh

.PHONY: check-aarch64 coverage lint
check-aarch64 coverage lint: # JOBS=n: so many steps at a time
	$(CHECK) tests/only.sh $(@:check-%=%)

# The AVX-512 kernels on any CPU, in an emulated machine (make deps-avx512).
.PHONY: check-avx512
check-avx512: $(RUNNER) $(BUILD)/tests/golden_check
	$(CHECK) tests/avx512/run.sh

# Ours beside the peers (make deps-bench), into $(BUILD)/bench.json; BENCH_FLAGS="--only token" for a part.
bench bench-quick: $(BENCH)
	@python3 tests/bench/bench.py --build $(BUILD) $(if $(filter bench-quick,$@),--quick) $(BENCH_FLAGS)

# Finished runs stay in $(BUILD)/support_study.csv: another call goes on from there.
study: $(BUILD)/tests/bench/support_study $(BUILD)/tests/bench/support_report
	$< time steps=200 gradient=support,refresh_interval=20
	$< loss $(BUILD)/support_study.csv
	$< circuits $(BUILD)/support_study.csv
	$(BUILD)/tests/bench/support_report $(BUILD)/support_study.csv

# The public names, as exported by the shared library; a change of this list is a change of the ABI. Debian's list
# tells beside each the version that it came with. The constants of the header have a list with their values.
DEBIAN_SYMBOLS := tests/package/debian/libsparsenet$(MAJOR).symbols
symbols-update: $(SHARED)
	$(NM) -D --defined-only $(SHARED) | awk '{print $$3}' | LC_ALL=C sort > tests/data/symbols.txt
	sh tests/package/debian_symbols.sh $(VERSION) $(DEBIAN_SYMBOLS) < tests/data/symbols.txt > $(BUILD)/symbols.new
	mv $(BUILD)/symbols.new $(DEBIAN_SYMBOLS)
	bash tests/package/constants.sh > $(BUILD)/constants.new
	mv $(BUILD)/constants.new tests/data/constants.txt

# What a release promises to keep (docs/release.md).
abi-update: $(SHARED)
	BUILD='$(BUILD)' bash tests/package/abi.sh update

# For tests/viewer/lint.sh.
.PHONY: viewer-scripts
viewer-scripts:
	@echo $(SCRIPTS)

# ----------------------------------------------------------------- install

PACKAGING := tests/package
CMAKEDIR   = $(LIBDIR)/cmake/sparsenet

# They hold the places to install to, which may differ at each call: hence phony.
.PHONY: install uninstall package-files
package-files:
	@PREFIX='$(PREFIX)' LIBDIR='$(LIBDIR)' INCLUDEDIR='$(INCLUDEDIR)' MANDIR='$(MANDIR)' \
		VERSION=$(VERSION) MAJOR=$(MAJOR) SHARED_NAME=$(notdir $(SHARED)) SONAME=$(SONAME) \
		XSMM_LIBS='$(XSMM_LIBS)' LIBRARIES='$(LIBRARIES)' \
		POINTER_BYTES=$$(echo __SIZEOF_POINTER__ | $(CC) $(CPPFLAGS) $(CFLAGS) -E -P - | tail -n 1) \
		sh $(PACKAGING)/fill.sh $(BUILD)/package sparsenet.pc.in $(wildcard $(PACKAGING)/cmake/*.in)

# The reference of sparsenet(3) is what the header says.
MANUAL := $(BUILD)/man/sparsenet.3 $(BUILD)/man/sparsenet-formats.5
.PHONY: man
man: $(MANUAL)

$(BUILD)/man/%: docs/man/%.in docs/man/reference.awk include/sparsenet.h Makefile
	$(call say,MAN,$@)
	$(Q)mkdir -p $(@D)
	$(Q)awk -f docs/man/reference.awk include/sparsenet.h > $@.reference
	$(Q)sed -e 's/@VERSION@/$(VERSION)/' -e 's/@MAJOR@/$(MAJOR)/' \
		-e '/^@REFERENCE@$$/{' -e 'r $@.reference' -e d -e '}' $< > $@.new
	$(Q)mv $@.new $@

install: all package-files man
	install -d '$(DESTDIR)$(INCLUDEDIR)' '$(DESTDIR)$(LIBDIR)/pkgconfig' '$(DESTDIR)$(CMAKEDIR)' \
		'$(DESTDIR)$(MANDIR)/man3' '$(DESTDIR)$(MANDIR)/man5'
	install -m 644 include/sparsenet.h '$(DESTDIR)$(INCLUDEDIR)'
	install -m 644 $(STATIC) '$(DESTDIR)$(LIBDIR)'
	install -m 755 $(SHARED) '$(DESTDIR)$(LIBDIR)'
	ln -sf $(notdir $(SHARED)) '$(DESTDIR)$(LIBDIR)/$(SONAME)'
	ln -sf $(SONAME) '$(DESTDIR)$(LIBDIR)/libsparsenet.so'
	install -m 644 $(BUILD)/package/sparsenet.pc '$(DESTDIR)$(LIBDIR)/pkgconfig'
	install -m 644 $(BUILD)/package/sparsenetConfig.cmake $(BUILD)/package/sparsenetConfigVersion.cmake \
		'$(DESTDIR)$(CMAKEDIR)'
	install -m 644 $(BUILD)/man/sparsenet.3 '$(DESTDIR)$(MANDIR)/man3'
	install -m 644 $(BUILD)/man/sparsenet-formats.5 '$(DESTDIR)$(MANDIR)/man5'
	@[ -n '$(DESTDIR)' ] || [ "$$(id -u)" != 0 ] || $(LDCONFIG) # or programs would not find it yet

uninstall:
	rm -f '$(DESTDIR)$(INCLUDEDIR)/sparsenet.h' '$(DESTDIR)$(LIBDIR)/libsparsenet.a' \
		'$(DESTDIR)$(LIBDIR)/$(notdir $(SHARED))' '$(DESTDIR)$(LIBDIR)/$(SONAME)' \
		'$(DESTDIR)$(LIBDIR)/libsparsenet.so' '$(DESTDIR)$(LIBDIR)/pkgconfig/sparsenet.pc' \
		'$(DESTDIR)$(CMAKEDIR)/sparsenetConfig.cmake' '$(DESTDIR)$(CMAKEDIR)/sparsenetConfigVersion.cmake' \
		'$(DESTDIR)$(MANDIR)/man3/sparsenet.3' '$(DESTDIR)$(MANDIR)/man5/sparsenet-formats.5'
	@[ ! -d '$(DESTDIR)$(CMAKEDIR)' ] || rmdir --ignore-fail-on-non-empty '$(DESTDIR)$(CMAKEDIR)'

.PHONY: deb
deb:
	BUILD='$(BUILD)' VERSION=$(VERSION) bash $(PACKAGING)/deb.sh

# -------------------------------------------------------------- dependencies

DEPS := gcc libc6-dev make pkg-config binutils libjansson-dev libpcre2-dev check graphviz python3 g++ \
	$(if $(filter x86_64,$(MACHINE)),$(if $(filter 0,$(XSMM_ASKED)),,libxsmm-dev))
DEPS_CI    := clang libclang-rt-14-dev clang-format valgrind locales python3-regex python3-networkx libsimde-dev \
	chromium nodejs eslint python3-numpy luajit cmake mandoc abigail-tools gcovr cppcheck $(DEPS_AARCH64)
# Debian's nodejs comes without it, others' with it, and then Debian's cannot be installed beside.
DEPS_NPM    = $(if $(shell command -v npm 2>/dev/null),,npm)
DEPS_AARCH64 := gcc-aarch64-linux-gnu g++-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user
DEPS_PACKAGE := debhelper dpkg-dev lintian
DEPS_BENCH := python3 python3-torch python3-numpy python3-scipy libopenblas0-pthread
DEPS_AVX512 := bochs bochs-term busybox-static isolinux syslinux-common xorriso cpio python3

# $(call install_packages,NAMES): says what is missing, installs that, does nothing when all is there.
define install_packages
@missing=$$(for name in $(1); do \
	dpkg-query -W -f '$${Status}' $$name 2>/dev/null | grep -q 'ok installed' || printf '%s ' $$name; done); \
if [ -z "$$missing" ]; then echo 'deps: all there'; exit 0; fi; \
echo "deps: installing $$missing"; \
if [ "$$(id -u)" = 0 ]; then root=; else root=sudo; fi; \
export DEBIAN_FRONTEND=noninteractive; \
$$root apt-get -q update && $$root apt-get -q install -y --no-install-recommends $$missing
endef

# What Node.js calls C by, which Debian does not have. Its tests are skipped without it, where npm cannot fetch it.
define install_koffi
[ -d $(BUILD)/node/node_modules/koffi ] || \
	{ command -v npm > /dev/null && mkdir -p $(BUILD)/node && \
	npm install --silent --no-audit --no-fund --ignore-scripts --prefix $(BUILD)/node koffi@2; } || \
	echo 'deps: without koffi (npm), the tests of the binding for Node.js are skipped'
endef

define fetch_aarch64
bash tests/aarch64/root.sh $(BUILD)/aarch64/root || \
	echo 'deps: without the arm64 libraries, the tests of aarch64 are skipped'
endef

.PHONY: deps deps-ci deps-package deps-bench deps-avx512 deps-aarch64
deps:
	$(call install_packages,$(DEPS))
deps-ci:
	$(call install_packages,$(DEPS) $(DEPS_CI) $(DEPS_NPM))
	@$(install_koffi)
	@$(fetch_aarch64)
deps-aarch64:
	$(call install_packages,$(DEPS) $(DEPS_AARCH64))
	@$(fetch_aarch64)
deps-package:
	$(call install_packages,$(DEPS) $(DEPS_PACKAGE))
deps-bench:
	$(call install_packages,$(DEPS_BENCH))
deps-avx512:
	$(call install_packages,$(DEPS) $(DEPS_AVX512))

# `make -j2 deps check` must install before it compiles.
ifneq ($(filter deps deps-ci deps-package,$(MAKECMDGOALS)),)
$(FLAGS) deb: | $(filter deps deps-ci deps-package,$(MAKECMDGOALS))
endif

# -------------------------------------------------------------------- house

.PHONY: format clean
format:
	$(CLANG_FORMAT) -i $$(git ls-files '*.c' '*.h' '*.cpp' '*.hpp' '*.js')

clean:
	rm -rf $(BUILD)

-include $(OBJECTS:.o=.d) $(TEST_OBJECTS:.o=.d) $(EXAMPLES:=.d) $(EXAMPLES_CPP:=.d) $(REPRODUCE_OBJECTS:.o=.d) $(TOOLS:=.d) $(BENCH:=.d)
