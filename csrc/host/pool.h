// The threads of the host kernel: started once, by the first call that can use them, and kept.
//
// A job is a number of items that threads claim one by one from an atomic counter. Between jobs a worker spins for some
// tens of microseconds (calls in a race follow each other that closely, and waking a thread costs about as much as it
// computes), then sleeps on a condition variable, so an idle pool burns nothing.
//
// Placement: a pool as large as the set of processors that the process may run on gives each worker a processor of its
// own, and moves it when the caller turns up there. Left alone, a scheduler may take longer to part two threads that
// woke on one processor than the whole job takes. A smaller pool is left to the scheduler: two processes would pick the
// same processors.
//
// fork: a child has none of its parent's threads, and a mutex that another thread held stays locked in it for ever. So
// the child forgets the pool (its memory is leaked on purpose) and its first call starts a new one.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <new>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include <pthread.h>
#if defined(__linux__)
#include <sched.h>
#endif

#if defined(__x86_64__) || defined(__i386__)
#define KGATE_PAUSE() __builtin_ia32_pause()
#elif defined(__aarch64__)
#define KGATE_PAUSE() __asm__ __volatile__("yield")
#else
#define KGATE_PAUSE() std::this_thread::yield()
#endif

namespace kgate {
namespace {

// Memory is what a thread works in, made by the thread itself so that its pages lie near it.
template <class Memory>
class Pool {
public:
    using Body = void (*)(const void* context, int64_t item, Memory& memory);

    // The process's pool, of at most `threads` threads, the caller's among them. Throws std::bad_alloc.
    static Pool& instance(int threads) {
        std::lock_guard<std::mutex> guard(creating());
        if (!current()) {
            static bool handled = false;  // inherited by children, as the handler is
            if (!handled) handled = pthread_atfork(nullptr, nullptr, forget) == 0;
            current() = new Pool(threads);
        }
        return *current();
    }

    // Joins the threads: before the process ends, or its library is unloaded.
    static void end() {
        std::lock_guard<std::mutex> guard(creating());
        delete current();
        current() = nullptr;
    }

    // body(context, item, memory) for every item; returns when all are done. Concurrent callers take turns.
    void run(int64_t items, Body body, const void* context) {
        std::lock_guard<std::mutex> turn(turn_);
        if (workers_.empty() || items == 1) {
            for (int64_t item = 0; item < items; ++item) body(context, item, *memory_);
            return;
        }
        const Stay stay(*this);
        {
            std::lock_guard<std::mutex> guard(mutex_);
            body_ = body, context_ = context, items_ = items;
            next_.store(0, std::memory_order_relaxed);
            open_ = true;
            job_.fetch_add(1, std::memory_order_release);
        }
        wake_.notify_all();
        claim(body, context, items, *memory_);
        // A worker that has not woken by now is not waited for: it will find the job closed.
        std::unique_lock<std::mutex> guard(mutex_);
        open_ = false;
        if (working_.load(std::memory_order_relaxed) == 0) return;
        guard.unlock();
        for (int i = 0; i < kSpins && working_.load(std::memory_order_acquire) != 0; ++i) KGATE_PAUSE();
        guard.lock();
        done_.wait(guard, [this] { return working_.load(std::memory_order_relaxed) == 0; });
    }

private:
    static constexpr int kSpins = 2000;  // some 20 to 100 us, as long as `pause` takes

    explicit Pool(int threads) : memory_(new Memory) {
        try {
            for (int i = 1; i < threads; ++i) workers_.emplace_back([this] { work(); });
        } catch (const std::system_error&) {
            // The process may start no more threads: those that it has do the work.
        }
        find_homes();
    }

    ~Pool() {
        {
            std::lock_guard<std::mutex> turn(turn_);
            std::lock_guard<std::mutex> guard(mutex_);
            ending_.store(true, std::memory_order_release);
        }
        wake_.notify_all();
        for (std::thread& worker : workers_) worker.join();
    }

#if defined(__linux__) && defined(__GLIBC__)
    // homes_[0] is the caller's processor, homes_[i] that of worker i - 1; empty: nobody is placed.
    void find_homes() {
        cpu_set_t allowed;
        if (sched_getaffinity(0, sizeof allowed, &allowed) != 0 || CPU_COUNT(&allowed) != int(workers_.size()) + 1)
            return;
        for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu)
            if (CPU_ISSET(cpu, &allowed)) homes_.push_back(cpu);
        for (size_t i = 1; i < homes_.size(); ++i) move(i);
    }
    static void place(pthread_t thread, int cpu) {
        cpu_set_t home;
        CPU_ZERO(&home);
        CPU_SET(cpu, &home);
        pthread_setaffinity_np(thread, sizeof home, &home);  // a hint: may be refused
    }
    void move(size_t i) { place(workers_[i - 1].native_handle(), homes_[i]); }

    // Keeps the caller where it is while it works, and the worker that lives there elsewhere.
    class Stay {
    public:
        explicit Stay(Pool& pool) {
            std::vector<int>& homes = pool.homes_;
            const int here = sched_getcpu();
            for (size_t i = 1; i < homes.size(); ++i)
                if (homes[i] == here) {
                    std::swap(homes[0], homes[i]);
                    pool.move(i);
                }
            held_ = !homes.empty() && homes[0] == here &&
                    pthread_getaffinity_np(pthread_self(), sizeof before_, &before_) == 0;
            if (held_) place(pthread_self(), here);
        }
        ~Stay() {
            if (held_) pthread_setaffinity_np(pthread_self(), sizeof before_, &before_);
        }

    private:
        cpu_set_t before_;
        bool held_;
    };
#else
    void find_homes() {}
    struct Stay {
        explicit Stay(Pool&) {}
    };
#endif

    static std::mutex& creating() {
        static std::mutex mutex;
        return mutex;
    }
    static Pool*& current() {
        static Pool* pool = nullptr;
        return pool;
    }
    static void forget() {
        current() = nullptr;
        new (&creating()) std::mutex;
    }

    void claim(Body body, const void* context, int64_t items, Memory& memory) {
        for (int64_t item; (item = next_.fetch_add(1, std::memory_order_relaxed)) < items;) body(context, item, memory);
    }

    void work() {
        const std::unique_ptr<Memory> memory(new (std::nothrow) Memory);
        if (!memory) return;
        for (uint64_t seen = 0;;) {
            const auto idle = [&] {
                return job_.load(std::memory_order_acquire) == seen && !ending_.load(std::memory_order_acquire);
            };
            for (int i = 0; i < kSpins && idle(); ++i) KGATE_PAUSE();
            std::unique_lock<std::mutex> guard(mutex_);
            wake_.wait(guard, [&] { return !idle(); });
            if (ending_.load(std::memory_order_relaxed)) return;
            seen = job_.load(std::memory_order_relaxed);
            if (!open_) continue;
            working_.fetch_add(1, std::memory_order_relaxed);
            const Body body = body_;
            const void* context = context_;
            const int64_t items = items_;
            guard.unlock();
            claim(body, context, items, *memory);
            guard.lock();
            if (working_.fetch_sub(1, std::memory_order_release) == 1) done_.notify_one();
        }
    }

    std::mutex turn_;   // held by the caller whose job it is
    std::mutex mutex_;  // guards what follows, as far as it is not atomic
    std::condition_variable wake_, done_;
    std::atomic<uint64_t> job_{0};  // number of jobs so far
    std::atomic<bool> ending_{false};
    std::atomic<int> working_{0};  // workers inside the current job
    bool open_ = false;            // workers may still join it
    Body body_ = nullptr;
    const void* context_ = nullptr;
    int64_t items_ = 0;
    alignas(64) std::atomic<int64_t> next_{0};  // on a line of its own: all threads write it
    alignas(64) std::unique_ptr<Memory> memory_;
    std::vector<std::thread> workers_;
    std::vector<int> homes_;
};

}  // namespace
}  // namespace kgate
