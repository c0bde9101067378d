// libsparsenet from C++17, in one header: handles that free themselves, exceptions, std::function, views.
//
//   sparsenet::context context;
//   auto model = sparsenet::model::load(context, "model.safetensors");
//   sparsenet::session session(context, model);
//   session.forward(tokens);                        // a sequence; or tokens and offsets
//   std::vector<float> logits = session.logits();   // tokens x vocab_size
//
// Thin: each class is one pointer of sparsenet.h, which get() gives to whatever is not wrapped here. Handles move and
// do not copy. A failure throws sparsenet::error (a class for each status). The library lets objects be freed in any
// order, so members and locals need none. What a function lends (views, std::string_view) lives as long as its object
// and until that changes.
// What a callback throws stops the call and is thrown again by it: nothing unwinds through C. docs/ffi.md
// has the rules of threads and ownership. SPDX-License-Identifier: MIT
#ifndef SPARSENET_HPP
#define SPARSENET_HPP

#include <sparsenet.h>

#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <initializer_list>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace sparsenet
{

// ---------------------------------------------------------------- exceptions

class error : public std::runtime_error
{
  public:
    error(int status, const std::string &message) : std::runtime_error(message), status_(status)
    {
    }
    int status() const noexcept
    {
        return status_;
    }

  private:
    int status_;
};

template <int Status> class error_of : public error
{
  public:
    explicit error_of(const std::string &message) : error(Status, message)
    {
    }
};

using argument_error = error_of<SN_ERROR_ARGUMENT>;
using memory_error = error_of<SN_ERROR_MEMORY>;
using io_error = error_of<SN_ERROR_IO>;
using format_error = error_of<SN_ERROR_FORMAT>;
using unsupported = error_of<SN_ERROR_UNSUPPORTED>;
using numeric_error = error_of<SN_ERROR_NUMERIC>;
using cancelled = error_of<SN_ERROR_CANCELLED>;
using state_error = error_of<SN_ERROR_STATE>;
using capacity_error = error_of<SN_ERROR_CAPACITY>;
using target_error = error_of<SN_ERROR_TARGET>;

[[noreturn]] inline void throw_status(int status, const std::string &message)
{
    switch (status) {
    case SN_ERROR_ARGUMENT: throw argument_error(message);
    case SN_ERROR_MEMORY: throw memory_error(message);
    case SN_ERROR_IO: throw io_error(message);
    case SN_ERROR_FORMAT: throw format_error(message);
    case SN_ERROR_UNSUPPORTED: throw unsupported(message);
    case SN_ERROR_NUMERIC: throw numeric_error(message);
    case SN_ERROR_CANCELLED: throw cancelled(message);
    case SN_ERROR_STATE: throw state_error(message);
    case SN_ERROR_CAPACITY: throw capacity_error(message);
    case SN_ERROR_TARGET: throw target_error(message);
    default: throw error(status, message);
    }
}

// --------------------------------------------------------------------- views

// A range of numbers that belong to somebody else; std::span of C++20, as far as it is needed here.
template <typename T> class view
{
  public:
    constexpr view() noexcept = default;
    constexpr view(const T *data, std::size_t size) noexcept : data_(data), size_(size)
    {
    }
    view(const std::vector<T> &values) noexcept : view(values.data(), values.size())
    {
    }
    // For arguments only: the list ends with the statement.
    constexpr view(std::initializer_list<T> values) noexcept : view(values.begin(), values.size())
    {
    }
    constexpr const T *data() const noexcept
    {
        return data_;
    }
    constexpr std::size_t size() const noexcept
    {
        return size_;
    }
    constexpr bool empty() const noexcept
    {
        return size_ == 0;
    }
    constexpr const T &operator[](std::size_t i) const
    {
        return data_[i];
    }
    constexpr const T *begin() const noexcept
    {
        return data_;
    }
    constexpr const T *end() const noexcept
    {
        return data_ + size_;
    }

  private:
    const T *data_ = nullptr;
    std::size_t size_ = 0;
};

// ------------------------------------------------------------------- handles

// Owns one pointer of the library.
template <typename T, void (*Free)(T *)> class handle
{
  public:
    handle() noexcept = default;
    explicit handle(T *pointer) noexcept : pointer_(pointer)
    {
    }
    T *get() const noexcept
    {
        return pointer_.get();
    }
    explicit operator bool() const noexcept
    {
        return pointer_ != nullptr;
    }

  private:
    struct deleter {
        void operator()(T *pointer) const noexcept
        {
            Free(pointer);
        }
    };
    std::unique_ptr<T, deleter> pointer_;
};

inline std::string_view lent(const char *text) noexcept
{
    return text ? std::string_view(text) : std::string_view();
}

// ------------------------------------------------------------------- context

// Returns true to cancel.
using progress_function =
    std::function<bool(std::string_view stage, std::size_t done, std::size_t total, double value)>;

// What a call needs of a context: where its message stands, and what its callbacks threw. Cheap to copy; objects
// that work in a context hold one, so that the context itself may move.
class caller
{
  public:
    struct state {
        progress_function progress;
        std::exception_ptr thrown;
    };

    explicit caller(sn_context *context) : context_(context), state_(std::make_shared<state>())
    {
    }
    sn_context *get() const noexcept
    {
        return context_;
    }
    state *shared() const noexcept
    {
        return state_.get();
    }
    // Of every call: throws what a callback threw, else what the status says.
    void check(int status) const
    {
        if (std::exception_ptr thrown = std::exchange(state_->thrown, nullptr))
            std::rethrow_exception(thrown);
        if (status != SN_OK)
            throw_status(status, sn_context_message(context_));
    }
    // Runs what a callback has to do: 1 where it asks to stop or throws, for nothing may unwind through C.
    template <typename Work> int guard(Work work) const noexcept
    {
        return guard(*state_, work);
    }
    template <typename Work> static int guard(state &own, Work work) noexcept
    {
        try {
            return work() ? 1 : 0;
        } catch (...) {
            own.thrown = std::current_exception();
            return 1;
        }
    }

  private:
    sn_context *context_;
    std::shared_ptr<state> state_;
};

class context : public handle<sn_context, sn_context_free>
{
  public:
    explicit context(std::size_t n_threads = 1, const sn_allocator *allocator = nullptr)
        : handle(create(allocator)), caller_(get())
    {
        sn_context_set_progress(get(), report, caller_.shared());
        check(sn_context_set_threads(get(), n_threads));
    }
    operator const caller &() const noexcept
    {
        return caller_;
    }
    void check(int status) const
    {
        caller_.check(status);
    }
    void set_threads(std::size_t n)
    {
        check(sn_context_set_threads(get(), n));
    }
    void set_progress(progress_function progress)
    {
        caller_.shared()->progress = std::move(progress);
    }
    std::string_view isa() const
    {
        return lent(sn_context_isa(get()));
    }
    std::size_t bytes_held() const
    {
        std::size_t current = 0;
        sn_context_memory(&current, nullptr, get());
        return current;
    }

  private:
    caller caller_;

    static sn_context *create(const sn_allocator *allocator)
    {
        sn_context *made = nullptr;
        if (const int status = sn_context_create(&made, allocator))
            throw_status(status, sn_status_string(status));
        return made;
    }
    static int report(const char *stage, std::size_t done, std::size_t total, double value,
                      void *payload) noexcept
    {
        caller::state &own = *static_cast<caller::state *>(payload);
        return caller::guard(
            own, [&] { return own.progress && own.progress(lent(stage), done, total, value); });
    }
};

// make<sn_model>(context, sn_model_load, path): for functions that begin with `out, context`.
template <typename T, typename Function, typename... Arguments>
T *make(const caller &in, Function function, Arguments... arguments)
{
    T *made = nullptr;
    in.check(function(&made, in.get(), arguments...));
    return made;
}

// An array by pointer, capacity and needed.
template <typename T, typename Function, typename... Arguments>
std::vector<T> fetch(const caller &in, Function function, Arguments... arguments)
{
    std::size_t needed = 0;
    in.check(function(nullptr, 0, &needed, arguments...));
    std::vector<T> values(needed);
    in.check(function(values.data(), needed, &needed, arguments...));
    return values;
}

class options : public handle<sn_options, sn_options_free>
{
  public:
    explicit options(const caller &in) : handle(make<sn_options>(in, sn_options_create)), caller_(in)
    {
    }
    options &set(const char *key, double value) &
    {
        caller_.check(sn_options_set(get(), caller_.get(), key, value));
        return *this;
    }
    options &set(const char *key, const std::string &value) &
    {
        caller_.check(sn_options_set_text(get(), caller_.get(), key, value.c_str()));
        return *this;
    }
    options &&set(const char *key, double value) &&
    {
        return std::move(set(key, value));
    }
    options &&set(const char *key, const std::string &value) &&
    {
        return std::move(set(key, value));
    }

  private:
    caller caller_;
};

// nullptr for "no options" where a wrapper takes a pointer to them.
inline const sn_options *get_or_null(const options *given) noexcept
{
    return given ? given->get() : nullptr;
}

// ---------------------------------------------------------- tokenizer, corpus

class corpus;

class tokenizer : public handle<sn_tokenizer, sn_tokenizer_free>
{
  public:
    using handle::handle;
    static tokenizer load(const caller &in, const std::string &path)
    {
        return tokenizer(make<sn_tokenizer>(in, sn_tokenizer_load, path.c_str()));
    }
    std::size_t size() const
    {
        return sn_tokenizer_size(get());
    }
    std::vector<std::int32_t> encode(const caller &in, std::string_view text) const
    {
        return fetch<std::int32_t>(in, sn_tokenizer_encode, in.get(), get(), text.data(), text.size());
    }
    std::string decode(const caller &in, view<std::int32_t> tokens) const
    {
        const std::vector<char> text =
            fetch<char>(in, sn_tokenizer_decode, in.get(), get(), tokens.data(), tokens.size());
        return std::string(text.begin(), text.end());
    }
    std::string_view token(std::int32_t token) const
    {
        std::size_t length = 0;
        const char *text = sn_tokenizer_token(&length, get(), token);
        return std::string_view(text, length);
    }
};

class corpus : public handle<sn_corpus, sn_corpus_free>
{
  public:
    explicit corpus(const caller &in) : handle(make<sn_corpus>(in, sn_corpus_create))
    {
    }
    void add_text(const caller &in, std::string_view text)
    {
        in.check(sn_corpus_add_text(get(), in.get(), text.data(), text.size()));
    }
    void add_tokens(const caller &in, view<std::int32_t> tokens)
    {
        in.check(sn_corpus_add_tokens(get(), in.get(), tokens.data(), tokens.size()));
    }
    void add_idioms(const caller &in, std::size_t n_bytes, const options *how = nullptr)
    {
        in.check(sn_python_add_idioms(get(), in.get(), n_bytes, get_or_null(how)));
    }
    // Pulls documents until `next` returns false.
    void add_documents(const caller &in, const std::function<bool(std::string &)> &next)
    {
        struct source {
            const caller &in;
            const std::function<bool(std::string &)> &next;
            std::string text;
            bool failed;
        } from{in, next, {}, false};
        const sn_document_callback take = [](const char **text, std::size_t *length,
                                             void *payload) -> int {
            source *own = static_cast<source *>(payload);
            const int more = own->in.guard([own] {
                own->failed = true;
                const bool any = own->next(own->text);
                own->failed = false;
                return any;
            });
            *text = own->text.data();
            *length = own->text.size();
            return own->failed ? -1 : more;
        };
        in.check(sn_corpus_add_documents(get(), in.get(), take, &from));
    }
    void tokenize(const caller &in, const tokenizer &by)
    {
        in.check(sn_corpus_tokenize(get(), in.get(), by.get()));
    }
    std::size_t size() const
    {
        return sn_corpus_count(get());
    }
    view<std::int32_t> tokens(std::size_t index) const
    {
        std::size_t n = 0;
        const std::int32_t *tokens = sn_corpus_tokens(&n, get(), index);
        return view<std::int32_t>(tokens, n);
    }
};

// -------------------------------------------------------------- model, running

class model : public handle<sn_model, sn_model_free>
{
  public:
    using handle::handle;
    static model load(const caller &in, const std::string &path)
    {
        return model(make<sn_model>(in, sn_model_load, path.c_str()));
    }
    static model create(const caller &in, std::string_view config_json, std::uint64_t seed)
    {
        return model(make<sn_model>(in, sn_model_create, config_json.data(), config_json.size(), seed));
    }
    // A second owner of the same weights.
    model share() const
    {
        return model(sn_model_retain(get()));
    }
    void save(const caller &in, const std::string &path) const
    {
        in.check(sn_model_save(get(), in.get(), path.c_str()));
    }
    std::int64_t config(const char *key) const
    {
        return sn_model_config_number(get(), key);
    }
    std::string_view config_json() const
    {
        return lent(sn_model_config_json(get()));
    }
};

class session : public handle<sn_session, sn_session_free>
{
  public:
    session(const caller &in, const model &of, const options *how = nullptr)
        : handle(make<sn_session>(in, sn_session_create, of.get(), get_or_null(how))), caller_(in)
    {
    }
    void forward(view<std::int32_t> tokens)
    {
        const std::size_t offsets[] = {0, tokens.size()};
        forward(tokens, view<std::size_t>(offsets, 2));
    }
    void forward(view<std::int32_t> tokens, view<std::size_t> offsets)
    {
        if (offsets.empty() || offsets[offsets.size() - 1] != tokens.size())
            throw argument_error("session::forward: offsets do not end at the number of tokens");
        caller_.check(sn_session_forward(get(), tokens.data(), offsets.data(), offsets.size() - 1));
    }
    std::vector<float> logits() const
    {
        return fetch<float>(caller_, sn_session_logits, get());
    }
    void record(const char *site)
    {
        caller_.check(sn_session_record(get(), site));
    }
    std::vector<float> activations(const char *site) const
    {
        return fetch<float>(caller_, sn_session_activations, get(), site);
    }
    // channels: all of the site's; tokens: all.
    void intervene(const char *site, int action, view<float> values, view<std::size_t> channels = {},
                   view<unsigned char> tokens = {})
    {
        caller_.check(sn_session_intervene(get(), site, action, channels.data(), channels.size(),
                                           values.data(), values.size(), tokens.data(), tokens.size()));
    }
    void clear_interventions()
    {
        caller_.check(sn_session_clear_interventions(get()));
    }

  private:
    caller caller_;
};

class generator : public handle<sn_generator, sn_generator_free>
{
  public:
    generator(const caller &in, const model &of, const options *how = nullptr)
        : handle(make<sn_generator>(in, sn_generator_create, of.get(), get_or_null(how))), caller_(in)
    {
    }
    void append(view<std::int32_t> tokens)
    {
        caller_.check(sn_generator_append(get(), tokens.data(), tokens.size()));
    }
    std::int32_t next()
    {
        std::int32_t token = 0;
        caller_.check(sn_generator_next(&token, get()));
        return token;
    }
    std::size_t size() const
    {
        return sn_generator_count(get());
    }

  private:
    caller caller_;
};

// ------------------------------------------------------------- tasks, circuits

class task : public handle<sn_task, sn_task_free>
{
  public:
    using handle::handle;
    static task create(const caller &in, const char *name)
    {
        return task(make<sn_task>(in, sn_task_create, name));
    }
    static task python(const caller &in, const tokenizer &by, const char *name, std::size_t n_pairs,
                       const options *how = nullptr)
    {
        return task(make<sn_task>(in, sn_python_task, by.get(), name, n_pairs, get_or_null(how)));
    }
    // by: nullptr for files of token ids.
    static task load(const caller &in, const tokenizer *by, const std::string &path)
    {
        return task(make<sn_task>(in, sn_task_load_jsonl, by ? by->get() : nullptr, path.c_str()));
    }
    void add_pair(const caller &in, view<std::int32_t> prompt_a, view<std::int32_t> prompt_b,
                  std::int32_t target_a, std::int32_t target_b)
    {
        in.check(sn_task_add_pair(get(), in.get(), prompt_a.data(), prompt_a.size(), prompt_b.data(),
                                  prompt_b.size(), target_a, target_b));
    }
    std::string_view name() const
    {
        return lent(sn_task_name(get()));
    }
    std::size_t size() const
    {
        return sn_task_count(get());
    }
};

class means : public handle<sn_means, sn_means_free>
{
  public:
    means(const caller &in, const model &of, const corpus &over, const options *how = nullptr)
        : handle(make<sn_means>(in, sn_means_create, of.get(), over.get(), get_or_null(how)))
    {
    }
    view<float> site(const char *name) const
    {
        std::size_t width = 0;
        const float *values = sn_means_site(&width, get(), name);
        return view<float>(values, width);
    }
};

struct edge {
    std::string_view from, to;
    float weight;
};

struct path {
    std::string_view words;
    double weight, contribution;
};

class circuit : public handle<sn_circuit, sn_circuit_free>
{
  public:
    using handle::handle;
    static circuit extract(const caller &in, const model &of, const means &ablated, const task &on,
                           const options *how = nullptr, const task *develop = nullptr)
    {
        return circuit(make<sn_circuit>(in, sn_circuit_extract, of.get(), ablated.get(), on.get(),
                                        develop ? develop->get() : nullptr, get_or_null(how)));
    }
    static circuit load(const caller &in, const model &of, const std::string &path)
    {
        return circuit(make<sn_circuit>(in, sn_circuit_load, of.get(), path.c_str()));
    }
    static circuit create(const caller &in, const model &of, const char *task)
    {
        return circuit(make<sn_circuit>(in, sn_circuit_create, of.get(), task));
    }
    void add_node(const caller &in, const std::string &node)
    {
        in.check(sn_circuit_add_node(get(), in.get(), node.c_str()));
    }
    std::size_t node_count() const
    {
        return sn_circuit_node_count(get());
    }
    std::string_view node(std::size_t index) const
    {
        return lent(sn_circuit_node_name(get(), index));
    }
    std::vector<edge> edges() const
    {
        std::vector<edge> all(sn_circuit_edge_count(get()));
        for (std::size_t i = 0; i < all.size(); i++) {
            std::size_t from = 0, to = 0;
            sn_circuit_edge(&from, &to, &all[i].weight, get(), i);
            all[i].from = node(from);
            all[i].to = node(to);
        }
        return all;
    }
    void trace(const caller &in, const means &ablated, const tokenizer &by, const task &on,
               const options *how = nullptr)
    {
        in.check(sn_circuit_trace(get(), in.get(), ablated.get(), by.get(), on.get(), get_or_null(how)));
    }
    std::vector<path> paths() const
    {
        std::vector<path> all(sn_circuit_path_count(get()));
        for (std::size_t i = 0; i < all.size(); i++)
            all[i].words = lent(sn_circuit_path(&all[i].weight, &all[i].contribution, get(), i));
        return all;
    }
    // Calibrated on `on` itself; ablate: SN_ABLATE_*.
    sn_evaluation evaluate(const caller &in, const means &ablated, const task &on,
                           int ablate = SN_ABLATE_REST) const
    {
        sn_evaluation result = {};
        result.struct_size = sizeof result;
        in.check(sn_evaluate(&result, in.get(), sn_circuit_model(get()), ablated.get(), get(), ablate,
                             on.get(), on.get()));
        return result;
    }
    void write_json(const caller &in, const std::string &path) const
    {
        in.check(sn_report_write_json(in.get(), get(), path.c_str()));
    }
    void write_svg(const caller &in, const std::string &path) const
    {
        in.check(sn_report_write_svg(in.get(), get(), path.c_str()));
    }
    // page: tokenizer, evidence, ... of sn_page; its struct_size is set here.
    void write_html(const caller &in, const std::string &path, sn_page page = {}) const
    {
        page.struct_size = sizeof page;
        in.check(sn_report_write_html(in.get(), get(), &page, path.c_str()));
    }
    // A report in pieces; `take` returns true to cancel. form: SN_REPORT_*.
    void send(const caller &in, int form, const std::function<bool(std::string_view)> &take) const
    {
        struct sink {
            const caller &in;
            const std::function<bool(std::string_view)> &take;
        } to{in, take};
        const sn_text_callback piece = [](const char *text, std::size_t length, void *payload) -> int {
            const sink *own = static_cast<const sink *>(payload);
            return own->in.guard([&] { return own->take(std::string_view(text, length)); });
        };
        in.check(sn_report_send(in.get(), get(), form, nullptr, piece, &to));
    }
    std::string text(const caller &in, int form) const
    {
        std::string all;
        send(in, form, [&all](std::string_view piece) {
            all += piece;
            return false;
        });
        return all;
    }
};

} // namespace sparsenet

#endif
