// The arguments of the functions that Python calls: arrays as buffers, so that no NumPy is needed to build this and every version fits.
#pragma once

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <cstdint>
#include <cstring>
#include <memory>
#include <new>
#include <vector>

namespace aisle {

using Values = PyObject* const*;

// Thrown where Python's error is set.
struct PythonError {};

[[noreturn]] inline void refuse(PyObject* kind, const char* text) {
    PyErr_SetString(kind, text);
    throw PythonError{};
}

template <typename T>
constexpr const char* kFormats = "";
template <>
constexpr const char* kFormats<double> = "d";
template <>
constexpr const char* kFormats<int64_t> = "lq";
template <>
constexpr const char* kFormats<bool> = "?";

// The arguments of a call; what they lend is given back at its end.
class Arguments {
public:
    Arguments(const char* function, PyObject* const* values, Py_ssize_t count, Py_ssize_t expected)
        : function_(function), values_(values), buffers_(static_cast<std::size_t>(expected)) {
        if (count == expected) return;
        PyErr_Format(PyExc_TypeError, "%s: got %zd arguments, expected %zd", function, count, expected);
        throw PythonError{};
    }
    Arguments(const Arguments&) = delete;
    Arguments& operator=(const Arguments&) = delete;
    ~Arguments() {
        for (Py_buffer& buffer : buffers_)
            if (buffer.obj) PyBuffer_Release(&buffer);
    }

    PyObject* object() { return values_[next_++]; }

    // Whether the argument that comes next is None.
    bool is_none() const { return values_[next_] == Py_None; }

    template <typename T>
    const T* in(int64_t count) {
        return static_cast<const T*>(take(sizeof(T), kFormats<T>, count, PyBUF_FORMAT | PyBUF_C_CONTIGUOUS));
    }

    template <typename T>
    T* out(int64_t count) {
        return static_cast<T*>(take(sizeof(T), kFormats<T>, count, PyBUF_FORMAT | PyBUF_C_CONTIGUOUS | PyBUF_WRITABLE));
    }

    // Bytes of any kind.
    const uint8_t* bytes(int64_t count) {
        return static_cast<const uint8_t*>(take(1, nullptr, count, PyBUF_C_CONTIGUOUS));
    }

    // How many rows of so many numbers the argument has that comes next.
    int64_t rows(std::size_t bytes) {
        Py_buffer buffer{};
        if (PyObject_GetBuffer(values_[next_], &buffer, PyBUF_C_CONTIGUOUS) < 0) throw PythonError{};
        const int64_t count = buffer.len / static_cast<int64_t>(bytes);
        PyBuffer_Release(&buffer);
        return count;
    }

    double number() {
        const double value = PyFloat_AsDouble(object());
        if (value == -1.0 && PyErr_Occurred()) throw PythonError{};
        return value;
    }

    int64_t integer() {
        const int64_t value = PyLong_AsLongLong(object());
        if (value == -1 && PyErr_Occurred()) throw PythonError{};
        return value;
    }

    // Numbers that say of which of `limit` things something is; `least` may be -1 where "of none" is meant.
    const int64_t* places(int64_t count, int64_t limit, int64_t least = 0) {
        const int64_t* values = in<int64_t>(count);
        for (int64_t k = 0; k < count; ++k) {
            if (values[k] >= least && values[k] < limit) continue;
            PyErr_Format(PyExc_IndexError, "%s: argument %zd holds %lld, expected %lld to %lld", function_, next_,
                         static_cast<long long>(values[k]), static_cast<long long>(least), static_cast<long long>(limit - 1));
            throw PythonError{};
        }
        return values;
    }

private:
    void* take(std::size_t size, const char* formats, int64_t count, int flags) {
        const Py_ssize_t at = next_++;
        Py_buffer& buffer = buffers_[static_cast<std::size_t>(at)];
        if (PyObject_GetBuffer(values_[at], &buffer, flags) < 0) throw PythonError{};
        if (formats && (!buffer.format || buffer.format[0] == '\0' || buffer.format[1] || !std::strchr(formats, buffer.format[0]))) {
            PyErr_Format(PyExc_TypeError, "%s: argument %zd is an array of '%s', expected '%c'", function_, at + 1,
                         buffer.format ? buffer.format : "bytes", formats[0]);
            throw PythonError{};
        }
        if (buffer.len != count * static_cast<int64_t>(size)) {
            PyErr_Format(PyExc_ValueError, "%s: argument %zd has %zd numbers, expected %lld", function_, at + 1,
                         buffer.len / static_cast<Py_ssize_t>(size), static_cast<long long>(count));
            throw PythonError{};
        }
        return buffer.buf;
    }

    const char* function_;
    PyObject* const* values_;
    std::vector<Py_buffer> buffers_;
    Py_ssize_t next_ = 0;
};

// What lasts longer than the call that made it: something (`Content`), and the arguments that lend it its arrays.
template <typename Content>
class Held {
public:
    Held(const char* function, Values values, Py_ssize_t count, Py_ssize_t expected) : objects_(values, values + count) {
        arguments_ = std::make_unique<Arguments>(function, objects_.data(), count, expected);
        for (PyObject* object : objects_) Py_INCREF(object);
    }
    Held(const Held&) = delete;
    Held& operator=(const Held&) = delete;
    ~Held() {
        arguments_.reset();
        for (PyObject* object : objects_) Py_DECREF(object);
    }

    Arguments& arguments() { return *arguments_; }

    // Hands it over to Python.
    static PyObject* handle(std::unique_ptr<Held> held) {
        PyObject* capsule = PyCapsule_New(held.get(), Content::kName, [](PyObject* object) {
            delete static_cast<Held*>(PyCapsule_GetPointer(object, Content::kName));
        });
        if (!capsule) throw PythonError{};
        held.release();
        return capsule;
    }

    static Content& of(PyObject* capsule) {
        void* pointer = PyCapsule_GetPointer(capsule, Content::kName);
        if (!pointer) throw PythonError{};
        return static_cast<Held*>(pointer)->content;
    }

    Content content{};

private:
    std::vector<PyObject*> objects_;
    std::unique_ptr<Arguments> arguments_;
};

template <PyObject* (*function)(Values, Py_ssize_t)>
PyObject* called(PyObject*, Values values, Py_ssize_t count) {
    try {
        return function(values, count);
    } catch (const PythonError&) {
        return nullptr;
    } catch (const std::bad_alloc&) {
        return PyErr_NoMemory();
    }
}

template <PyObject* (*function)(Values, Py_ssize_t)>
PyMethodDef method(const char* name, const char* text) {
    return {name, reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(&called<function>)), METH_FASTCALL, text};
}

}  // namespace aisle
